-- name: version
SELECT max(version) FROM datamig.meta

-- name: lock_runs
LOCK TABLE datamig.runs IN SHARE ROW EXCLUSIVE MODE

-- name: overlapping
-- Unfinished runs of this migration, or on one of these tables.
SELECT id FROM datamig.runs
WHERE status IN ('running', 'paused', 'rolling_back') AND (migration = $1 OR relations && $2::text[])
ORDER BY migration = $1 DESC, started_at

-- name: insert_run
WITH run AS (
    INSERT INTO datamig.runs (id, migration, version, fingerprint, relations, targets, options,
                              estimated_rows, actor, kid, data_key)
    VALUES ($1, $2, $3, $4, $5::text[], $6::jsonb, $7::jsonb, $8, $9::jsonb, $10, $11)
    RETURNING id)
INSERT INTO datamig.leases (run_id, epoch) SELECT id, 0 FROM run

-- name: bump_epoch
UPDATE datamig.leases SET epoch = epoch + 1 WHERE run_id = $1 RETURNING epoch

-- name: fence
UPDATE datamig.leases SET epoch = epoch + 1 WHERE run_id = $1 AND epoch = $2 RETURNING epoch

-- name: is_fenced
SELECT EXISTS (SELECT FROM datamig.leases l JOIN datamig.runs r ON r.id = l.run_id
               WHERE l.run_id = $1 AND l.epoch = $2 + 1 AND r.owner = $3 AND r.status = 'rolling_back')

-- name: own
UPDATE datamig.runs
SET owner = $2, backend = CASE WHEN $4::bool THEN pg_backend_pid() END,
    backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
    lease_expires = clock_timestamp() + make_interval(secs => $3::float8)
WHERE id = $1

-- name: set_status
UPDATE datamig.runs
SET status = $2, error = $3, control = NULL, waiting = NULL,
    completed_at = CASE WHEN $2 IN ('succeeded', 'failed', 'rolled_back') THEN clock_timestamp() END
WHERE id = $1

-- name: heartbeat
-- A run that is over is nobody's, although the process that ended it may give a last sign of life.
UPDATE datamig.runs r
SET owner = CASE WHEN r.completed_at IS NULL THEN $3 END, waiting = $5, workers = $7::smallint[],
    backend = CASE WHEN $6::bool THEN pg_backend_pid() END,
    backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
    lease_expires = CASE WHEN r.completed_at IS NULL
                         THEN clock_timestamp() + make_interval(secs => $4::float8) END
FROM datamig.leases l WHERE r.id = $1 AND l.run_id = r.id AND l.epoch = $2
RETURNING CASE WHEN r.completed_at IS NULL THEN r.control END AS control

-- name: release
UPDATE datamig.runs r SET owner = NULL, backend = NULL, backend_start = NULL, lease_expires = NULL
FROM datamig.leases l WHERE r.id = $1 AND l.run_id = r.id AND l.epoch = $2

-- name: guard
-- Fencing: the share lock makes whoever takes the run over wait for this transaction.
-- `hot` counts what the session has not reported yet, earlier chunks included: the difference is ours.
SELECT r.control, coalesce(pg_stat_get_xact_tuples_hot_updated(to_regclass($3)::oid), 0) AS hot
FROM datamig.leases l JOIN datamig.runs r ON r.id = l.run_id
WHERE l.run_id = $1 AND l.epoch = $2 AND ($4::text IS NULL OR r.status = $4) FOR SHARE OF l

-- name: open_chunk
-- What a chunk's transaction begins with, in one statement: its settings, then the same as `guard`. The
-- settings come first, so that a lock that is waited for here has its timeout; OFFSET keeps them apart.
-- A lost tail of chunk commits is harmless, since rows, before-images and checkpoint are lost together;
-- hence no wait for the disk. Joining a chunk to its table by anything but the index would read it whole.
SELECT r.control, coalesce(pg_stat_get_xact_tuples_hot_updated(to_regclass($3)::oid), 0) AS hot
FROM (SELECT set_config('lock_timeout', $4, true), set_config('statement_timeout', $5, true),
             set_config('synchronous_commit', 'off', true),
             set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
             set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true) OFFSET 0) s
CROSS JOIN datamig.leases l JOIN datamig.runs r ON r.id = l.run_id
WHERE l.run_id = $1 AND l.epoch = $2 AND ($6::text IS NULL OR r.status = $6) FOR SHARE OF l

-- name: runs
SELECT r.id, r.migration, r.version, r.fingerprint, r.status, r.relations, r.targets, r.options,
       r.estimated_rows, r.started_at, r.completed_at, r.error, r.report, r.actor, r.control, r.waiting,
       r.ddl_done, r.kid, r.data_key, r.owner, r.backup_id,
       -- NULL where the ledger is older than this column: a name that a table lacks is looked for further out.
       (SELECT workers FROM datamig.runs w WHERE w.id = r.id) AS workers,
       -- Through a pooler no session is a process's own: only the lease tells.
       coalesce(r.lease_expires > clock_timestamp() AND (r.backend IS NULL OR EXISTS (
           SELECT FROM pg_stat_activity a WHERE a.pid = r.backend
           AND (a.backend_start IS NULL OR a.backend_start = r.backend_start))), false) AS alive,
       coalesce(r.lease_expires > clock_timestamp(), false) AS leased,
       c.changed, c.restored, c.kept,
       (SELECT count(*) FROM datamig.quarantine q WHERE q.run_id = r.id AND NOT q.left_alone) AS quarantined,
       (SELECT count(*) FROM datamig.before_images b JOIN datamig.chunks h ON h.id = b.chunk_id
        WHERE h.run_id = r.id) AS images,
       (SELECT count(*) FROM datamig.tasks t WHERE t.run_id = r.id) AS tasks
FROM (SELECT NULL::smallint[] AS workers) older CROSS JOIN datamig.runs r
CROSS JOIN LATERAL (
    SELECT coalesce(sum(changed), 0)::bigint AS changed, coalesce(sum(restored), 0)::bigint AS restored,
           coalesce(sum(kept), 0)::bigint AS kept
    FROM datamig.chunks WHERE run_id = r.id) c
WHERE ($1::uuid IS NULL OR r.id = $1)
  AND ($2::text IS NULL OR r.migration = $2)
  AND ($3::text[] IS NULL OR r.status = ANY ($3))
ORDER BY r.started_at DESC
LIMIT $4

-- name: migrations
SELECT DISTINCT migration FROM datamig.runs

-- name: find_ids
SELECT id FROM datamig.runs WHERE id::text LIKE $1 || '%' ORDER BY started_at DESC LIMIT 2

-- name: request
UPDATE datamig.runs SET control = $2 WHERE id = $1

-- name: control
SELECT control FROM datamig.runs WHERE id = $1

-- name: finish
UPDATE datamig.runs
SET status = 'succeeded', completed_at = clock_timestamp(), affected_rows = $2, report = $3::jsonb,
    error = NULL, control = NULL, waiting = NULL
WHERE id = $1 AND status <> 'succeeded' RETURNING id

-- name: reopen
-- Who goes on with a run must prove it again: it counts as succeeded no more.
UPDATE datamig.runs
SET status = $2, completed_at = NULL, control = NULL, report = CASE WHEN $2 <> 'running' THEN report END
WHERE id = $1

-- name: retry
-- Its report is kept: with it the run had succeeded, and has again when the retry is over.
UPDATE datamig.runs SET status = 'running', completed_at = NULL, control = NULL WHERE id = $1

-- name: set_affected
UPDATE datamig.runs SET affected_rows = $2 WHERE id = $1

-- name: ddl_done
UPDATE datamig.runs SET ddl_done = $2 WHERE id = $1

-- name: add_windows
INSERT INTO datamig.windows (run_id, sweep, target, number, relation, first, last)
SELECT $1, $2, x.target, x.number, x.relation, x.first, x.last
FROM unnest($3::int[], $4::int[], $5::text[], $6::bigint[], $7::bigint[])
     AS x(target, number, relation, first, last)
ON CONFLICT DO NOTHING

-- name: horizon
SELECT pg_snapshot_xmin(pg_current_snapshot())::text

-- name: add_inspections
INSERT INTO datamig.inspections (run_id, target, heap, judge, horizon, alone)
SELECT $1, x.target, x.heap, x.judge, $5::text::xid8, $6
FROM unnest($2::int[], $3::oid[], $4::bytea[]) AS x(target, heap, judge)
ON CONFLICT DO NOTHING

-- name: inspections
-- The latest of each heap, by a run that succeeded and refused nothing; see engine/inspected.py.
SELECT DISTINCT ON (i.heap, i.judge) i.heap, i.judge, i.run_id, i.alone, i.horizon::xid::text::bigint AS horizon
FROM datamig.inspections i
JOIN datamig.runs r ON r.id = i.run_id AND r.status = 'succeeded'
JOIN unnest($1::oid[], $2::bytea[]) AS x(heap, judge) ON x.heap = i.heap AND x.judge = i.judge
JOIN pg_class t ON t.oid = i.heap JOIN pg_am a ON a.oid = t.relam AND a.amname = 'heap'
WHERE i.xmin = i.written::xid
  AND pg_snapshot_xmax(pg_current_snapshot())::text::bigint - i.horizon::text::bigint BETWEEN 0 AND 1 << 30
  AND NOT EXISTS (SELECT FROM datamig.quarantine q WHERE q.run_id = i.run_id)
ORDER BY i.heap, i.judge, i.horizon DESC

-- name: own_transactions
-- Not of chunks that came out of a dump: see inspections.
SELECT run_id, array_agg(DISTINCT xmin::text::bigint) AS own
FROM datamig.chunks WHERE run_id = ANY ($1::uuid[]) GROUP BY 1

-- name: sweep
SELECT max(sweep) FROM datamig.windows WHERE run_id = $1

-- name: claim_windows
-- A claim that a crash of the server takes back is made again: no wait for the disk.
UPDATE datamig.windows w SET epoch = $3
FROM (SELECT run_id, sweep, target, number, set_config('synchronous_commit', 'off', true)
      FROM datamig.windows
      WHERE run_id = $1 AND sweep = $2 AND NOT done AND (epoch IS NULL OR epoch < $3) AND target < $5
      ORDER BY target, number LIMIT $4 FOR UPDATE SKIP LOCKED) c
WHERE (w.run_id, w.sweep, w.target, w.number) = (c.run_id, c.sweep, c.target, c.number)
RETURNING w.target, w.number, w.relation, w.first, w.last

-- name: reclaim
-- The end of a sweep: it writes in any case, so that its commit waits until the disk has the chunks and windows
-- before it. The next sweep would not find what a crash took back of this one.
WITH durable AS (UPDATE datamig.runs SET waiting = waiting WHERE id = $1)
UPDATE datamig.windows SET epoch = NULL
WHERE run_id = $1 AND sweep = $2 AND NOT done AND (epoch IS NULL OR epoch <= $3) AND target < $4
RETURNING number

-- name: windows_done
-- Of a window that a crash of the server makes unfinished again, every row is looked at again.
UPDATE datamig.windows w SET done = true, skipped = x.skipped
FROM (SELECT set_config('synchronous_commit', 'off', true) OFFSET 0) s, datamig.leases l,
     unnest($4::int[], $5::int[], $6::bigint[]) AS x(target, number, skipped)
WHERE w.run_id = $1 AND w.sweep = $2 AND w.target = x.target AND w.number = x.number
  AND l.run_id = w.run_id AND l.epoch = $3

-- name: add_chunk
-- With its before-image and its audit entry, where there are any: one statement.
WITH chunk AS (
    INSERT INTO datamig.chunks (run_id, token, epoch, sweep, target, relation, changed, conflicts, quarantined,
                                first_key, last_key, seconds, hot)
    VALUES ($1::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10::text[], $11::text[], $12,
            pg_stat_get_xact_tuples_hot_updated(to_regclass($6)::oid) - $13::bigint)
    RETURNING id, hot),
image AS (
    INSERT INTO datamig.before_images (chunk_id, image) SELECT id, $14::bytea FROM chunk WHERE $14::bytea IS NOT NULL),
head AS (
    UPDATE datamig.audit_head
    SET seq = seq + 1, previous = hash,
        hash = sha256(hash || convert_to(concat_ws(E'\n', seq + 1, 'chunk', $1::uuid::text, $15::text), 'UTF8'))
    WHERE $15::text IS NOT NULL RETURNING seq, previous, hash),
entry AS (
    INSERT INTO datamig.audit (seq, event, run_id, entry, previous, hash)
    SELECT seq, 'chunk', $1::uuid, $15::text, previous, hash FROM head)
SELECT id, hot FROM chunk

-- name: find_chunk
SELECT changed, conflicts, quarantined, coalesce(hot, 0) AS hot FROM datamig.chunks WHERE token = $1

-- name: add_archive_part
INSERT INTO datamig.archive_parts (chunk_id, run_id, name, bytes, sha256, rows, tables)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb)

-- name: archive_parts
SELECT name, bytes, sha256, rows, tables FROM datamig.archive_parts WHERE run_id = $1 ORDER BY chunk_id, name

-- name: add_quarantine
INSERT INTO datamig.quarantine (run_id, relation, key, tablename, code, reason, left_alone)
SELECT $1, $2, x.key, $3, x.code, x.reason, x.left_alone
FROM (SELECT ARRAY(SELECT json_array_elements_text(k::json)) AS key, code, reason, left_alone
      FROM unnest($4::text[], $5::text[], $6::text[], $7::bool[]) AS u(k, code, reason, left_alone)) x
ON CONFLICT DO NOTHING

-- name: quarantine
SELECT tablename, relation, key, code, reason, left_alone, at FROM datamig.quarantine
WHERE run_id = $1 ORDER BY relation, key LIMIT $2

-- name: refused_tables
SELECT tablename, relation, to_regclass(relation) IS NULL AS gone, clock_timestamp() AS now FROM datamig.quarantine
WHERE run_id = $1 AND NOT left_alone GROUP BY 1, 2 ORDER BY 1, 2

-- name: refused
SELECT key FROM datamig.quarantine
WHERE run_id = $1 AND relation = $2 AND NOT left_alone AND at < $5 AND key > $3::text[] ORDER BY key LIMIT $4

-- name: entries
SELECT key, code, reason, left_alone, at FROM datamig.quarantine
WHERE run_id = $1 AND relation = $2
  AND key IN (SELECT ARRAY(SELECT json_array_elements_text(k::json)) FROM unnest($3::text[]) AS u(k))

-- name: lift
DELETE FROM datamig.quarantine
WHERE run_id = $1 AND relation = $2 AND NOT left_alone
  AND key IN (SELECT ARRAY(SELECT json_array_elements_text(k::json)) FROM unnest($3::text[]) AS u(k))

-- name: count_quarantine
SELECT count(*) FROM datamig.quarantine WHERE run_id = $1 AND NOT left_alone

-- name: quarantine_by_table
SELECT tablename, count(*) FILTER (WHERE NOT left_alone) AS rows, count(*) FILTER (WHERE left_alone) AS left_alone
FROM datamig.quarantine WHERE run_id = $1 GROUP BY 1

-- name: quarantine_by_code
SELECT code, count(*) AS rows FROM datamig.quarantine WHERE run_id = $1 GROUP BY 1 ORDER BY 2 DESC, 1

-- name: timeline
WITH span AS (
    SELECT min(committed_at) AS first, count(*) AS chunks,
           greatest(extract(epoch FROM max(committed_at) - min(committed_at)), 0.001)::float8 AS seconds
    FROM datamig.chunks WHERE run_id = $1
-- Several chunks a point, where there are that many: else it is in which one a commit falls that is drawn.
), sized AS (SELECT first, seconds, least($2::int, greatest(chunks / 4, least(chunks, 8), 1))::int AS points FROM span)
SELECT least(floor(extract(epoch FROM c.committed_at - s.first)::float8 / s.seconds * s.points), s.points - 1)::int
           AS point,
       s.seconds / s.points AS width, sum(c.changed)::bigint AS rows, count(*) AS chunks,
       coalesce(sum(c.hot), 0)::bigint AS hot, max(c.seconds)::float8 AS slowest
FROM datamig.chunks c CROSS JOIN sized s WHERE c.run_id = $1 GROUP BY 1, 2 ORDER BY 1

-- name: totals
SELECT c.target, coalesce(sum(changed), 0)::bigint AS changed, coalesce(sum(conflicts), 0)::bigint AS conflicts,
       count(*) AS chunks,
       coalesce(sum(hot), 0)::bigint AS hot
FROM datamig.chunks c WHERE run_id = $1 GROUP BY 1

-- name: skipped
SELECT target, coalesce(sum(skipped), 0)::bigint AS skipped
FROM datamig.windows WHERE run_id = $1 AND sweep <= 1 GROUP BY 1

-- name: next_to_restore
SELECT c.id, c.target, c.relation, c.changed, b.image
FROM datamig.chunks c LEFT JOIN datamig.before_images b ON b.chunk_id = c.id
WHERE c.run_id = $1 AND c.restored IS NULL AND (c.changed > 0 OR b.chunk_id IS NOT NULL) AND c.id < $2
ORDER BY c.id DESC LIMIT 1

-- name: restored
-- With its audit entry, both once only.
WITH chunk AS (
    UPDATE datamig.chunks SET restored = $2, kept = $3 WHERE id = $1 AND restored IS NULL RETURNING run_id),
head AS (
    UPDATE datamig.audit_head h
    SET seq = seq + 1, previous = hash,
        hash = sha256(hash || convert_to(concat_ws(E'\n', seq + 1, 'chunk-restored', c.run_id::text, $4::text),
                                         'UTF8'))
    FROM chunk c RETURNING h.seq, h.previous, h.hash, c.run_id),
entry AS (
    INSERT INTO datamig.audit (seq, event, run_id, entry, previous, hash)
    SELECT seq, 'chunk-restored', run_id, $4::text, previous, hash FROM head)
SELECT run_id FROM chunk

-- name: add_conflicts
INSERT INTO datamig.conflicts (run_id, relation, key, tablename)
SELECT $1, $2, ARRAY(SELECT json_array_elements_text(k::json)), $3 FROM unnest($4::text[]) AS u(k)
ON CONFLICT DO NOTHING

-- name: conflicts
SELECT tablename, relation, key FROM datamig.conflicts WHERE run_id = $1 ORDER BY relation, key LIMIT $2

-- name: last_chunk
SELECT coalesce(max(id), 0) FROM datamig.chunks WHERE run_id = $1

-- name: sample_chunks
SELECT c.id, c.target, c.relation, b.image
FROM datamig.chunks c JOIN datamig.before_images b ON b.chunk_id = c.id
WHERE c.run_id = $1 AND c.id > $3
ORDER BY hashint8(c.id) LIMIT $2

-- name: put_task
INSERT INTO datamig.tasks (run_id, relation, label, action, reason, outcome, note, seconds, before, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10::jsonb)
ON CONFLICT (run_id, relation, action) DO UPDATE
SET reason = excluded.reason, outcome = excluded.outcome, note = excluded.note, seconds = excluded.seconds,
    before = excluded.before, after = excluded.after, at = clock_timestamp()

-- name: tasks
SELECT relation, label, action, reason, outcome, note, seconds, before, after
FROM datamig.tasks WHERE run_id = $1 ORDER BY at, relation, action

-- name: call
-- How far a call of `process_batch` is; all batches of the same way, up or down, and its latest call.
SELECT c.first_key, c.last_key, t.batches, t.total, t.latest
FROM (SELECT count(*) FILTER (WHERE sweep = $2) AS batches, max(id) FILTER (WHERE sweep = $2) AS last,
             count(*) FILTER (WHERE sign(sweep) = sign($2::int)) AS total,
             coalesce(max(abs(sweep)) FILTER (WHERE sign(sweep) = sign($2::int)), 0) AS latest
      FROM datamig.chunks WHERE run_id = $1) t
LEFT JOIN datamig.chunks c ON c.id = t.last

-- name: rollback_data
SELECT c.id, b.image FROM datamig.chunks c LEFT JOIN datamig.before_images b ON b.chunk_id = c.id
WHERE c.run_id = $1 AND c.id < $2 AND c.sweep > 0 AND c.last_key[3]::int > 0
ORDER BY c.id DESC LIMIT 1

-- name: all_restored
UPDATE datamig.chunks SET restored = changed, kept = 0 WHERE run_id = $1 AND sweep > 0 AND restored IS NULL

-- name: canaries
SELECT kid, canary FROM datamig.keys ORDER BY created_at

-- name: add_canary
INSERT INTO datamig.keys (kid, canary) VALUES ($1, $2) ON CONFLICT DO NOTHING

-- name: drop_canary
DELETE FROM datamig.keys WHERE kid = $1

-- name: runs_by_key
SELECT kid, count(*) AS runs FROM datamig.runs WHERE kid IS NOT NULL AND data_key IS NOT NULL GROUP BY 1

-- name: wrapped
SELECT id, kid, data_key FROM datamig.runs
WHERE kid <> $1 AND data_key IS NOT NULL ORDER BY started_at FOR UPDATE

-- name: rewrap
UPDATE datamig.runs SET kid = $2, data_key = $3 WHERE id = $1

-- name: purgeable
SELECT r.id, r.migration, r.completed_at, r.kid IS NOT NULL AND r.data_key IS NOT NULL AS sealed,
       i.images, i.bytes
FROM datamig.runs r CROSS JOIN LATERAL (
    SELECT count(*) AS images, coalesce(sum(length(b.image)), 0)::bigint AS bytes
    FROM datamig.before_images b JOIN datamig.chunks c ON c.id = b.chunk_id WHERE c.run_id = r.id) i
WHERE r.status NOT IN ('running', 'paused', 'rolling_back') AND r.completed_at < $1
  AND (i.images > 0 OR ($2 AND r.data_key IS NOT NULL))
ORDER BY r.completed_at

-- name: purge_images
DELETE FROM datamig.before_images b USING datamig.chunks c
WHERE c.id = b.chunk_id AND c.run_id = $1

-- name: shred
UPDATE datamig.runs SET data_key = NULL WHERE id = $1

-- name: audit
-- The head's row lock orders the entries; READ COMMITTED re-reads it after the wait.
WITH head AS (
    UPDATE datamig.audit_head
    SET seq = seq + 1, previous = hash,
        hash = sha256(hash || convert_to(concat_ws(E'\n', seq + 1, $1::text, coalesce($2::uuid::text, ''), $3::text),
                                         'UTF8'))
    RETURNING seq, previous, hash)
INSERT INTO datamig.audit (seq, event, run_id, entry, previous, hash)
SELECT seq, $1, $2::uuid, $3::text, previous, hash FROM head

-- name: audit_entries
SELECT seq, event, run_id, entry, previous, hash FROM datamig.audit WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: audit_count
SELECT count(*) FROM datamig.audit

-- name: audit_first
SELECT entry FROM datamig.audit WHERE event = $1 AND run_id = $2 ORDER BY seq LIMIT 1

-- name: audit_head
SELECT seq, hash FROM datamig.audit_head

-- name: set_backup
UPDATE datamig.runs SET backup_id = $2 WHERE id = $1

-- name: backups_needed
-- Of runs that can still be undone or gone on with.
SELECT DISTINCT backup_id FROM datamig.runs WHERE backup_id IS NOT NULL AND status <> 'rolled_back'
