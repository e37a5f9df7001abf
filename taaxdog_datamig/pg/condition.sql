-- How tables and indexes are kept. Nothing here waits for a lock: a table that somebody holds exclusively
-- is measured by what pg_class remembers of it, since pg_relation_size would queue behind that lock.

-- name: tables
-- All tables, partitioned ones (the sums of their partitions) and materialized views; the one named $1, if given.
WITH RECURSIVE locked AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())),
tree(root, oid) AS (
    SELECT c.oid, i.inhrelid FROM pg_class c JOIN pg_inherits i ON i.inhparent = c.oid WHERE c.relkind = 'p'
    UNION ALL
    SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid),
heap AS MATERIALIZED (
    SELECT c.oid,
           CASE WHEN c.relkind = 'p' THEN 0
                WHEN c.oid IN (SELECT relation FROM locked)
                THEN greatest(c.relpages, 0)::bigint * current_setting('block_size')::int
                ELSE coalesce(pg_relation_size(c.oid), 0) END AS bytes,
           CASE WHEN c.relkind = 'p' THEN 0
                WHEN c.reltuples >= 0 THEN c.reltuples ELSE pg_stat_get_live_tuples(c.oid) END::bigint AS rows,
           coalesce(pg_stat_get_dead_tuples(c.oid), 0) AS dead_rows,
           coalesce(pg_stat_get_mod_since_analyze(c.oid), 0) AS changed_rows,
           greatest(c.relallvisible, 0)::bigint AS visible
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'),
whole AS (
    SELECT * FROM heap WHERE oid NOT IN (SELECT root FROM tree)
    UNION ALL
    SELECT t.root, sum(h.bytes)::bigint, sum(h.rows)::bigint, sum(h.dead_rows)::bigint,
           sum(h.changed_rows)::bigint, sum(h.visible)::bigint
    FROM tree t JOIN heap h ON h.oid = t.oid GROUP BY t.root)
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       n.nspname || '.' || c.relname AS table,
       pg_has_role(c.relowner, 'USAGE')
         OR (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database())
         OR CASE WHEN current_setting('server_version_num')::int >= 170000
                 THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END AS may_maintain,
       w.bytes, w.rows, w.dead_rows, w.changed_rows,
       least(1.0, w.visible / nullif(w.bytes / current_setting('block_size')::int, 0)::float8) AS all_visible,
       extract(epoch FROM clock_timestamp() - greatest(
           pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)))::float8
           AS statistics_age,
       CASE WHEN c.relkind = 'p' THEN 0 ELSE greatest(
           age(c.relfrozenxid) / current_setting('autovacuum_freeze_max_age')::float8,
           mxid_age(c.relminmxid) / current_setting('autovacuum_multixact_freeze_max_age')::float8)
       END AS freeze_share,
       NULL::bigint AS bloat_bytes
FROM whole w JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE $1::text IS NULL OR c.oid = to_regclass($1::text)
ORDER BY n.nspname, c.relname

-- name: indexes
-- Valid B-trees that REINDEX CONCURRENTLY takes; the one named $1, if given. An entry of a fresh build has a line
-- pointer (4 bytes), a header (8) and its columns, aligned to 8; a page has 8152 bytes for them, of which the
-- fill factor (90%) is used, and one page in a hundred is an inner one.
WITH locked AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       n.nspname || '.' || t.relname AS table,
       pg_has_role(t.relowner, 'USAGE')
         OR CASE WHEN current_setting('server_version_num')::int >= 170000
                 THEN has_table_privilege(t.oid, 'MAINTAIN') ELSE false END AS may_maintain,
       s.bytes, greatest(c.reltuples, 0)::bigint AS rows, 0::bigint AS dead_rows, 0::bigint AS changed_rows,
       NULL::float8 AS all_visible, NULL::float8 AS statistics_age, 0::float8 AS freeze_share,
       CASE WHEN w.known AND c.reltuples >= 0 THEN greatest(0, s.bytes - current_setting('block_size')::bigint * (
           1 + ceil(1.01 * c.reltuples * (12 + 8 * ceil(w.width / 8))
               / ((current_setting('block_size')::int - 40) * f.fill / 100.0))))::bigint
       END AS bloat_bytes
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
JOIN pg_class t ON t.oid = i.indrelid AND t.relkind IN ('r', 'm') AND t.relpersistence <> 't'
JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT CASE WHEN c.oid IN (SELECT relation FROM locked) OR t.oid IN (SELECT relation FROM locked)
                THEN greatest(c.relpages, 0)::bigint * current_setting('block_size')::int
                ELSE coalesce(pg_relation_size(c.oid), 0) END AS bytes) s
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions)
                     WHERE option_name = 'fillfactor'), 90) AS fill) f
CROSS JOIN LATERAL (
    SELECT sum(p.avg_width * (1 - p.null_frac)) AS width, count(p.attname) = i.indnatts AS known
    FROM pg_attribute x
    LEFT JOIN pg_attribute y ON y.attrelid = t.oid AND y.attnum = i.indkey[x.attnum - 1] AND y.attnum > 0
    LEFT JOIN pg_stats p ON p.schemaname = n.nspname AND NOT p.inherited
     AND p.tablename = CASE WHEN y.attnum IS NULL THEN c.relname ELSE t.relname END
     AND p.attname = coalesce(y.attname, x.attname)
    WHERE x.attrelid = c.oid) w
WHERE i.indisvalid AND i.indisready AND NOT i.indisexclusion
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND ($1::text IS NULL OR c.oid = to_regclass($1::text))
ORDER BY n.nspname, c.relname

-- name: leftovers
-- Invalid indexes that a REINDEX CONCURRENTLY of index $1 has left; their names begin as its own does.
SELECT n.nspname AS schema, c.relname AS name
FROM pg_index mine
JOIN pg_class own ON own.oid = mine.indexrelid
JOIN pg_index i ON i.indrelid = mine.indrelid AND NOT i.indisvalid
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE mine.indexrelid = to_regclass($1::text) AND c.relname ~ '_cc(new|old)[0-9]*$'
  AND starts_with(own.relname::text, regexp_replace(c.relname::text, '_cc(new|old)[0-9]*$', ''))
ORDER BY 1, 2

-- name: progress
-- What the backend $1 is at, in blocks.
SELECT phase, CASE phase WHEN 'vacuuming heap' THEN heap_blks_vacuumed ELSE heap_blks_scanned END AS done,
       heap_blks_total AS total
FROM pg_stat_progress_vacuum WHERE pid = $1
UNION ALL
SELECT phase, sample_blks_scanned, sample_blks_total FROM pg_stat_progress_analyze WHERE pid = $1
UNION ALL
SELECT phase, blocks_done, blocks_total FROM pg_stat_progress_create_index WHERE pid = $1
LIMIT 1
