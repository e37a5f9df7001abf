-- Version 6: which heaps a run has looked at as a whole, so that the next one need look at new rows only.

CREATE TABLE datamig.inspections (
    run_id   uuid NOT NULL REFERENCES datamig.runs ON DELETE CASCADE,
    target   integer NOT NULL,
    heap     oid NOT NULL,
    judge    bytea NOT NULL,  -- digest of what decides about its rows
    horizon  xid8 NOT NULL,   -- transactions before it had ended when the run began to look
    alone    boolean NOT NULL, -- whether no trigger or rule wrote further rows in the run's transactions
    -- Transaction ids mean something in the cluster that gave them: in a row that came out of a dump
    -- this is not the transaction that wrote it.
    written  xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (run_id, target, heap)
);
CREATE INDEX inspections_by_heap ON datamig.inspections (heap);

INSERT INTO datamig.meta (version) VALUES (6);
