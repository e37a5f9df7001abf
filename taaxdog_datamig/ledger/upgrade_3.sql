-- Version 3: what maintenance did to tables and indexes. It changes no row, so there are no chunks of it.

CREATE TABLE datamig.tasks (
    run_id   uuid NOT NULL REFERENCES datamig.runs ON DELETE CASCADE,
    relation text NOT NULL,     -- quoted
    label    text NOT NULL,     -- for people
    action   text NOT NULL,
    reason   text NOT NULL,
    outcome  text NOT NULL,
    note     text NOT NULL DEFAULT '',
    seconds  double precision NOT NULL DEFAULT 0,
    before   jsonb NOT NULL,    -- figures
    after    jsonb,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, relation, action)
);

INSERT INTO datamig.meta (version) VALUES (3);
