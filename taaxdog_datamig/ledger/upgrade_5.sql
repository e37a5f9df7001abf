-- Version 5: how many workers are at work, and of how many, as the process says that works on the run.

ALTER TABLE datamig.runs ADD COLUMN workers smallint[];

INSERT INTO datamig.meta (version) VALUES (5);
