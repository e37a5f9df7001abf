-- Version 2: rows that were left alone on purpose, and what was archived before it was deleted.

ALTER TABLE datamig.quarantine ADD COLUMN left_alone boolean NOT NULL DEFAULT false;

CREATE TABLE datamig.archive_parts (
    chunk_id bigint NOT NULL REFERENCES datamig.chunks ON DELETE CASCADE,
    run_id   uuid NOT NULL REFERENCES datamig.runs ON DELETE CASCADE,
    name     text NOT NULL,     -- of the file, in the run's folder
    bytes    bigint NOT NULL,
    sha256   bytea NOT NULL,
    rows     jsonb NOT NULL,    -- by table
    tables   jsonb NOT NULL,    -- relation, key and columns with their types, by table, as they were then
    PRIMARY KEY (chunk_id, name)
);
CREATE INDEX archive_parts_by_run ON datamig.archive_parts (run_id, chunk_id);

INSERT INTO datamig.meta (version) VALUES (2);
