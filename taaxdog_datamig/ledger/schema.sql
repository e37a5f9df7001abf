-- The ledger: what runs did, exactly, and how to undo it. Version 1.
-- `datamig` is replaced by `pg_temp` for a dry run, whose ledger must vanish with its connection.

CREATE TABLE datamig.meta (
    version      integer NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE datamig.runs (
    id             uuid PRIMARY KEY,
    migration      text NOT NULL,
    version        text NOT NULL,
    fingerprint    text NOT NULL,
    status         text NOT NULL DEFAULT 'running'
                   CHECK (status IN ('running', 'paused', 'succeeded', 'failed', 'rolling_back', 'rolled_back')),
    relations      text[] NOT NULL,
    targets        jsonb NOT NULL,      -- shapes, and the definitions changed and how to change them back
    options        jsonb NOT NULL,
    estimated_rows bigint NOT NULL DEFAULT 0,
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at   timestamptz,
    affected_rows  bigint NOT NULL DEFAULT 0,
    error          text,
    report         jsonb,
    actor          jsonb NOT NULL,
    control        text CHECK (control IN ('pause', 'cancel')),
    waiting        text,
    ddl_done       boolean NOT NULL DEFAULT false,
    kid            text,                -- the master key that wraps data_key; NULL: images are only compressed
    data_key       bytea,
    -- Who works on it. `backend` is the session that sends the signs of life: when it is gone from
    -- pg_stat_activity its process is, too, and nobody need wait for the lease to expire.
    owner          text,
    backend        integer,
    backend_start  timestamptz,
    lease_expires  timestamptz
);
CREATE INDEX runs_by_migration ON datamig.runs (migration, started_at DESC);
CREATE UNIQUE INDEX runs_unfinished ON datamig.runs (migration)
    WHERE status IN ('running', 'paused', 'rolling_back');

-- The fencing token, apart from the run: every chunk holds a share lock on it until it has committed,
-- which signs of life and requests to pause must not have to wait for.
CREATE TABLE datamig.leases (
    run_id uuid PRIMARY KEY REFERENCES datamig.runs ON DELETE CASCADE,
    epoch  integer NOT NULL
);

CREATE TABLE datamig.windows (
    run_id   uuid NOT NULL REFERENCES datamig.runs ON DELETE CASCADE,
    sweep    integer NOT NULL,
    target   integer NOT NULL,
    number   integer NOT NULL,
    relation text NOT NULL,
    first    bigint NOT NULL,
    last     bigint NOT NULL,
    epoch    integer,                   -- of the lease under which it was claimed
    done     boolean NOT NULL DEFAULT false,
    skipped  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, sweep, target, number)
);

CREATE TABLE datamig.chunks (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id       uuid NOT NULL REFERENCES datamig.runs ON DELETE CASCADE,
    token        uuid NOT NULL UNIQUE,  -- made before the first try: tells whether a lost commit happened
    epoch        integer NOT NULL,
    sweep        integer NOT NULL,
    target       integer NOT NULL,
    relation     text NOT NULL,
    changed      integer NOT NULL,
    conflicts    integer NOT NULL,
    quarantined  integer NOT NULL,
    hot          bigint,
    first_key    text[],
    last_key     text[],
    seconds      real NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    restored     integer,               -- by a rollback
    kept         integer                -- not restored: the row no longer held what the run wrote
);
CREATE INDEX chunks_by_run ON datamig.chunks (run_id, id);

CREATE TABLE datamig.before_images (
    chunk_id bigint PRIMARY KEY REFERENCES datamig.chunks ON DELETE CASCADE,
    image    bytea NOT NULL
);
ALTER TABLE datamig.before_images ALTER COLUMN image SET STORAGE EXTERNAL;  -- it is compressed already

CREATE TABLE datamig.quarantine (
    run_id   uuid NOT NULL REFERENCES datamig.runs ON DELETE CASCADE,
    relation text NOT NULL,
    key      text[] NOT NULL,
    tablename text NOT NULL,
    code     text NOT NULL,
    reason   text NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, relation, key)
);

CREATE TABLE datamig.conflicts (
    run_id    uuid NOT NULL REFERENCES datamig.runs ON DELETE CASCADE,
    relation  text NOT NULL,
    key       text[] NOT NULL,
    tablename text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, relation, key)
);

CREATE TABLE datamig.keys (
    kid        text PRIMARY KEY,
    canary     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Each entry's hash covers the one before, so none can be changed or taken away unseen.
CREATE TABLE datamig.audit (
    seq      bigint PRIMARY KEY,
    event    text NOT NULL,
    run_id   uuid,
    entry    text NOT NULL,
    previous bytea NOT NULL,
    hash     bytea NOT NULL
);
CREATE TABLE datamig.audit_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq      bigint NOT NULL,
    previous bytea NOT NULL,
    hash     bytea NOT NULL
);
INSERT INTO datamig.audit_head (seq, previous, hash) VALUES (0, '\x', sha256('datamig/audit/v1'));
INSERT INTO datamig.meta (version) VALUES (1);
