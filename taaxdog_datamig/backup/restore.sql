-- What a restore asks of the catalog.

-- name: present
-- Those of the tables, by schema and name in two arrays, that exist.
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM unnest($1::text[], $2::text[]) AS w(schema, name)
JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name

-- name: end_left
-- Ends what pg_restore, called $1, still does for a restore that was killed; waits for it.
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1 AND usename = current_user

-- name: whole_indexes
-- What drops the indexes of the partitioned tables $1, `schema.name`, with those of their partitions, which
-- pg_restore --clean would try to drop by themselves.
SELECT CASE WHEN k.oid IS NULL THEN format('DROP INDEX %I.%I CASCADE', n.nspname, i.relname)
            ELSE format('ALTER TABLE %I.%I DROP CONSTRAINT %I CASCADE', n.nspname, c.relname, k.conname) END AS sql
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid AND i.relkind = 'I' AND NOT i.relispartition
JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = i.oid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x')
WHERE format('%s.%s', n.nspname, c.relname) = ANY ($1::text[])

-- name: loading
-- How rows get into a table: whether it may be emptied first, and the partitioned table through which they
-- must go, since a hash of values of a type made here differs from database to database.
SELECT NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                   AND d.deptype = 'e') AS own,
       (SELECT rn.nspname::text FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace
        WHERE r.oid = pg_partition_root(c.oid) AND hashed.found) AS root_schema,
       (SELECT r.relname::text FROM pg_class r WHERE r.oid = pg_partition_root(c.oid) AND hashed.found) AS root
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM pg_partition_ancestors(c.oid) AS p(relid) JOIN pg_partitioned_table t ON t.partrelid = p.relid
        WHERE t.partstrat = 'h' AND (
            t.partexprs IS NOT NULL
            OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.partrelid
                       AND a.attnum = ANY (t.partattrs::int2[]) AND a.atttypid >= 16384))) AS found) AS hashed
WHERE n.nspname = $1 AND c.relname = $2

-- name: owned_sequences
-- Sequences and the columns whose values they make; $1: oids of tables, NULL for all.
SELECT format('%I.%I', sn.nspname, s.relname) AS sequence, format('%I.%I', n.nspname, c.relname) AS relation,
       a.attname::text AS column, q.seqincrement > 0 AS rising, q.seqmin AS least, q.seqmax AS most
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
JOIN pg_type t ON t.oid = a.atttypid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND d.refobjsubid > 0 AND t.typcategory = 'N' AND n.nspname !~ '^pg_'
  AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))

-- name: stale_views
-- Materialized views without their rows, in the order in which they were made.
SELECT format('%I.%I', n.nspname, c.relname) AS quoted, format('%s.%s', n.nspname, c.relname) AS label
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY c.oid

-- name: user_triggers
-- Triggers of the tables $1 that fire for ordinary sessions and are no foreign key's.
SELECT DISTINCT format('%s.%s', c.relname, t.tgname) AS name FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE t.tgrelid IN (SELECT relid FROM unnest($1::oid[]) AS r(oid), pg_partition_tree(r.oid) UNION SELECT unnest($1::oid[]))
  AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') ORDER BY 1

-- name: members
-- The tables $1 with their partitions.
SELECT oid FROM unnest($1::oid[]) AS r(oid)
UNION SELECT t.relid::oid FROM unnest($1::oid[]) AS r(oid), pg_partition_tree(r.oid) AS t

-- name: partitioned
-- The partitioned table of that name, `schema.name`, as relation.
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE format('%s.%s', n.nspname, c.relname) = $1 AND c.relkind IN ('p', 'r')
