-- Version 4: the backup that was made before a run.

ALTER TABLE datamig.runs ADD COLUMN backup_id text;

INSERT INTO datamig.meta (version) VALUES (4);
