-- name: standbys
-- Physical ones: what a consumer of logical changes lags is told by its slot. `state` is hidden from roles
-- without pg_monitor; who only receives (pg_receivewal, a base backup) replays nothing.
SELECT r.pid, coalesce(nullif(r.application_name, ''), r.pid::text) AS name, r.state, r.reply_time,
       coalesce(extract(epoch FROM r.replay_lag), 0)::float8 AS lag
FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
WHERE s.slot_type IS DISTINCT FROM 'logical' AND (r.state IS NULL OR r.replay_lsn IS NOT NULL)

-- name: slots
SELECT slot_name::text AS name, (pg_current_wal_lsn() - restart_lsn)::float8 AS kept
FROM pg_replication_slots WHERE restart_lsn IS NOT NULL ORDER BY kept DESC LIMIT 1

-- name: wal_position
SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8

-- name: archiver
SELECT current_setting('archive_mode') <> 'off' AS active, last_archived_wal, last_failed_wal,
       (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8 AS position,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment,
       has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE') AS exact
FROM pg_stat_archiver

-- name: ready
SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'

-- name: lock_waits
-- Other sessions that wait behind one of ours, the longest first. Locks are everybody's to see.
WITH ours AS (
    SELECT array_agg(pid) AS pids FROM pg_stat_activity
    WHERE application_name = current_setting('application_name') AND usename = current_user)
SELECT l.pid, extract(epoch FROM clock_timestamp() - l.waitstart)::float8 AS seconds
FROM ours, pg_locks l
WHERE NOT l.granted AND l.waitstart IS NOT NULL AND l.pid <> ALL (ours.pids)
  AND pg_blocking_pids(l.pid) && ours.pids
ORDER BY seconds DESC LIMIT 1

-- name: maintained
-- VACUUM, ANALYZE and builds of indexes beside the application hold this lock, and nothing else does for long.
WITH ours AS (
    SELECT to_regclass(name) AS oid FROM unnest($1::text[]) AS given(name)),
heaps AS (
    SELECT oid FROM ours UNION SELECT p.relid FROM ours CROSS JOIN LATERAL pg_partition_tree(ours.oid) AS p)
SELECT l.relation::regclass::text AS name
FROM pg_locks l JOIN heaps ON heaps.oid = l.relation
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (a.application_name IS DISTINCT FROM current_setting('application_name')
       OR a.usename IS DISTINCT FROM current_user)
LIMIT 1

-- name: active_sessions
-- Of the whole server. Rows that the role may not see, or that are not tracked, make the count untrue.
SELECT count(*) FILTER (WHERE state = 'active') AS active,
       count(*) FILTER (WHERE query = '<insufficient privilege>') AS hidden,
       count(*) FILTER (WHERE state = 'disabled') AS untracked
FROM pg_stat_activity
WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
  AND coalesce(backend_type, 'client backend') = 'client backend'
  AND NOT (application_name = current_setting('application_name') AND usename = current_user)

-- name: oldest_transaction
-- What keeps dead rows of this database from being removed.
SELECT what, extract(epoch FROM clock_timestamp() - since)::float8 AS seconds, hidden
FROM (
    SELECT 'the transaction of backend ' || pid AS what, xact_start AS since,
           query = '<insufficient privilege>' AS hidden
    FROM pg_stat_activity
    WHERE datname = current_database() AND usesysid IS NOT NULL
      AND NOT (application_name = current_setting('application_name') AND usename = current_user)
      AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR query = '<insufficient privilege>')
    UNION ALL
    SELECT 'a prepared transaction', prepared, false FROM pg_prepared_xacts
    WHERE database = current_database()) AS t
ORDER BY hidden DESC, since LIMIT 1
