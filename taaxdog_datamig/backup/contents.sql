-- What a backup holds, as the catalog has it.

-- name: tables
-- Tables with rows of their own: plain ones, partitions, inheritance parents and children. What belongs to an
-- extension is left to CREATE EXTENSION, except for the rows of its configuration tables.
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name,
       pg_relation_size(c.oid) AS bytes,
       pg_relation_size(c.oid) / current_setting('block_size')::int AS pages,
       has_table_privilege(c.oid, 'SELECT') AS may_select,
       CASE WHEN c.relispartition THEN (
           SELECT format('%s.%s', rn.nspname, r.relname) FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace
           WHERE r.oid = pg_partition_root(c.oid)) END AS root,
       (SELECT x.condition FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS x(relation, condition)
        WHERE x.relation = c.oid) AS condition,
       d.objid IS NOT NULL AS of_extension,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
       (SELECT array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS types,
       -- In binary, reg* types travel as OIDs, composites and arrays with the OIDs of types that the other
       -- database numbers in its own way, and a type without a send function not at all.
       NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                   JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
                   LEFT JOIN pg_type el ON el.oid = b.typelem AND b.typcategory = 'A'
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                     AND (b.typsend = 0 OR b.typtype IN ('c', 'd') OR el.typsend = 0 OR el.oid >= 16384
                          OR b.typname ~ '^_?reg[a-z]+$')) AS binary
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.relpages DESC, n.nspname, c.relname

-- name: sequences
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
ORDER BY 1, 2

-- name: moment
SELECT current_setting('server_version_num')::int AS server_version,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)::text AS lsn

-- name: filled_views
-- Materialized views that hold rows.
SELECT format('%s.%s', n.nspname, c.relname) AS label FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname !~ '^pg_' ORDER BY 1
