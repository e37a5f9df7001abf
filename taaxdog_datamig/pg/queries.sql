-- Catalog introspection. Relations are passed as oid, names as text.

-- name: relations
-- Those of the names $1 that there are.
SELECT asked.name AS asked, c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       greatest(c.reltuples, 0)::bigint AS tuples,
       -- As the last vacuum or ANALYZE counted them: asking for the size now waits for whoever has the table locked.
       greatest(c.relpages, 0)::bigint AS pages,
       greatest(c.relpages, 0) * current_setting('block_size')::bigint AS bytes,
       has_table_privilege(c.oid, 'SELECT') AS may_select,
       has_table_privilege(c.oid, 'UPDATE') AS may_update,
       has_table_privilege(c.oid, 'DELETE') AS may_delete,
       pg_has_role(c.relowner, 'USAGE') AS owned,
       c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) AS policed
FROM unnest($1::text[]) AS asked(name)
JOIN pg_class c ON c.oid = to_regclass(asked.name) JOIN pg_namespace n ON n.oid = c.relnamespace

-- name: columns
-- `base_type` is the type behind a domain, however many domains deep, with its length.
SELECT a.attrelid AS oid, a.attname AS name, a.attnum AS number, format_type(a.atttypid, a.atttypmod) AS type,
       t.typcategory::text AS category, bt.typname::text AS base, format_type(b.type, b.modifier) AS base_type,
       a.attnotnull AS not_null, a.attgenerated::text <> '' AS generated
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
CROSS JOIN LATERAL (
    WITH RECURSIVE behind(type, modifier, depth) AS (
        SELECT a.atttypid, a.atttypmod, 0
        UNION ALL
        SELECT d.typbasetype, d.typtypmod, depth + 1
        FROM behind JOIN pg_type d ON d.oid = behind.type WHERE d.typtype = 'd')
    SELECT type, modifier FROM behind ORDER BY depth DESC LIMIT 1) b
JOIN pg_type bt ON bt.oid = b.type
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum

-- name: keys
-- The primary key, else the narrowest unique index over NOT NULL columns: complete, valid, immediate.
SELECT DISTINCT ON (i.indrelid) i.indrelid AS oid,
       (SELECT array_agg(a.attname::text ORDER BY k.ord)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, ord)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
        WHERE k.ord <= i.indnkeyatts) AS columns
FROM pg_index i
WHERE i.indrelid = ANY ($1::oid[]) AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND (i.indisprimary OR NOT EXISTS (
        SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, ord)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
        WHERE k.ord <= i.indnkeyatts AND NOT a.attnotnull))
ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid

-- name: leaves
-- A plain table is its own leaf; a partitioned one is worked on partition by partition.
SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS relation,
       c.relkind::text AS kind,
       pg_relation_size(c.oid) / current_setting('block_size')::int AS pages
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT $1::oid UNION SELECT relid FROM pg_partition_tree($1::oid) WHERE isleaf)
  AND c.relkind <> 'p'
ORDER BY c.oid

-- name: heirs
-- Children by INHERITS. (A partition is a leaf; one that is a foreign table rules a primary key out.)
SELECT c.oid::regclass::text AS name
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::oid AND NOT c.relispartition
ORDER BY 1

-- name: indexes_on
-- Every index that depends on one of the columns: as a key, in an expression or in its predicate.
SELECT DISTINCT i.indexrelid::regclass::text AS name, i.indisunique AS unique
FROM pg_depend d JOIN pg_index i ON i.indexrelid = d.objid
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = $1::oid AND a.attname = ANY ($2::text[])
UNION
-- The index of a UNIQUE constraint depends on its constraint, not on the column.
SELECT i.indexrelid::regclass::text, i.indisunique
FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
WHERE i.indrelid = $1::oid AND a.attname = ANY ($2::text[])
ORDER BY 1

-- name: triggers_on
-- $2: the bit of tgtype, 16 for UPDATE, 8 for DELETE.
SELECT tgname::text AS name FROM pg_trigger
WHERE tgrelid = $1::oid AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & $2::int <> 0
ORDER BY 1

-- name: fires_nothing
-- Whatever the event, and whether enabled or not.
SELECT NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = ANY ($1::oid[]) AND NOT tgisinternal)
   AND NOT EXISTS (SELECT FROM pg_class WHERE oid = ANY ($1::oid[]) AND relhasrules)

-- name: dependents_on
-- What stops ALTER COLUMN TYPE: views, rules, policies, generated columns, trigger definitions.
SELECT DISTINCT
  CASE WHEN d.classid = 'pg_rewrite'::regclass
       THEN (SELECT CASE c.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || c.oid::regclass::text
             FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE r.oid = d.objid)
       ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END AS name
FROM pg_depend d
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND a.attname = ANY ($2::text[])
  AND (d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass)
       OR (d.classid = 'pg_attrdef'::regclass AND EXISTS (
             SELECT FROM pg_attrdef ad JOIN pg_attribute g ON g.attrelid = ad.adrelid AND g.attnum = ad.adnum
             WHERE ad.oid = d.objid AND g.attgenerated::text <> '')))
ORDER BY 1

-- name: old_transactions
-- Transactions that keep dead rows from being pruned, oldest first.
SELECT pid, coalesce(state, '') AS state,
       extract(epoch FROM now() - xact_start)::float8 AS seconds
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
  AND xact_start < now() - make_interval(secs => $1::float8)
ORDER BY xact_start

-- name: blockers
SELECT DISTINCT b.pid, coalesce(b.state, '') AS state
FROM pg_locks l CROSS JOIN unnest(pg_blocking_pids(l.pid)) AS p(pid)
JOIN pg_stat_activity b ON b.pid = p.pid
WHERE NOT l.granted AND l.pid = $1::int

-- name: must_be_given
-- Columns that an insert cannot leave out.
SELECT a.attname AS name FROM pg_attribute a
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attnotnull AND NOT a.atthasdef AND a.attidentity::text = ''
ORDER BY a.attnum

-- name: tables_in_brief
-- Tables outside of the ledger; a partitioned one is one table. `rows` is about right: as the last vacuum or ANALYZE
-- counted them, else as the statistics do. Waits for nobody's locks; pg_partition_tree would.
WITH RECURSIVE part(root, oid) AS (
    SELECT c.oid, c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname <> 'datamig' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    UNION ALL
    SELECT p.root, c.oid
    FROM part p JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid
    WHERE c.relispartition)
SELECT CASE WHEN n.nspname = 'public' THEN r.relname ELSE n.nspname || '.' || r.relname END AS name,
       sum(CASE WHEN c.relkind = 'p' THEN 0
                WHEN c.reltuples >= 0 THEN c.reltuples
                ELSE pg_stat_get_live_tuples(c.oid) END)::bigint AS rows
FROM part p JOIN pg_class c ON c.oid = p.oid
JOIN pg_class r ON r.oid = p.root JOIN pg_namespace n ON n.oid = r.relnamespace
GROUP BY 1
ORDER BY 1
