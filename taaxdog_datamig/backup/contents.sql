-- What a backup holds, as the catalog has it.

-- name: tables
-- Tables with rows of their own: plain ones, partitions, inheritance parents and children. What belongs to an
-- extension is left to CREATE EXTENSION, except for the rows of its configuration tables.
WITH RECURSIVE col AS (
    SELECT a.attrelid, a.attnum, a.attname::text AS name, a.atttypid, format_type(a.atttypid, a.atttypmod) AS type
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
), held AS (
    -- Each type with the types of which its values are made.
    SELECT DISTINCT atttypid AS type, atttypid AS within FROM col
    UNION
    SELECT h.type, x.oid FROM held h JOIN pg_type t ON t.oid = h.within CROSS JOIN LATERAL (
        SELECT t.typbasetype AS oid WHERE t.typtype = 'd'
        UNION ALL SELECT t.typelem WHERE t.typlen = -1 AND t.typelem <> 0
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
        UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid) x
), local AS (
    -- In binary, reg* types travel as OIDs, composites and arrays with the OIDs of types that the other
    -- database numbers in its own way, and a type without send and receive functions not at all. An empty
    -- tsquery is sent in a form that the server itself does not take.
    SELECT DISTINCT h.type FROM held h JOIN pg_type t ON t.oid = h.within
    WHERE t.typsend = 0 OR t.typreceive = 0 OR t.typtype IN ('c', 'p')
       OR (t.typlen = -1 AND t.typelem >= 16384)
       OR (t.typnamespace = 'pg_catalog'::regnamespace AND t.typname ~ '^(reg[a-z]+|tsquery)$')
), cols AS (
    SELECT attrelid, array_agg(name ORDER BY attnum) AS columns, array_agg(type ORDER BY attnum) AS types,
           NOT bool_or(atttypid IN (SELECT type FROM local)) AS binary
    FROM col GROUP BY attrelid
)
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name,
       pg_table_size(c.oid) AS bytes,
       pg_relation_size(c.oid) / current_setting('block_size')::int AS pages,
       has_table_privilege(c.oid, 'SELECT') AS may_select, row_security_active(c.oid) AS policed,
       c.relpersistence = 'u' AS unlogged, c.relfilenode AS file,
       CASE WHEN c.relispartition THEN (
           SELECT format('%s.%s', rn.nspname, r.relname) FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace
           WHERE r.oid = pg_partition_root(c.oid)) END AS root,
       (SELECT x.condition FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS x(relation, condition)
        WHERE x.relation = c.oid) AS condition,
       d.objid IS NOT NULL AS of_extension,
       cols.columns, cols.types, coalesce(cols.binary, true) AS binary
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN cols ON cols.attrelid = c.oid
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'datamig_restore')
ORDER BY c.relpages DESC, n.nspname, c.relname

-- name: changed
-- Of tables, given by OID and file at the snapshot: those that have been truncated or rewritten since. Their old
-- rows are gone, for an older snapshot, too. The function, unlike the catalog's column, tells what is now.
SELECT format('%s.%s', n.nspname, c.relname) AS label
FROM unnest($1::oid[], $2::oid[]) AS was(oid, file)
JOIN pg_class c ON c.oid = was.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE pg_relation_filenode(c.oid) IS DISTINCT FROM was.file

-- name: sequences
-- An extension's are left to it, except for those that it has declared as configuration. `users` are the tables
-- that own one or take values of it by default.
SELECT n.nspname::text AS schema, c.relname::text AS name,
       has_sequence_privilege(c.oid, 'SELECT') AS may_select,
       ARRAY(SELECT format('%s.%s', un.nspname, u.relname)
             FROM pg_depend d LEFT JOIN pg_attrdef ad ON d.classid = 'pg_attrdef'::regclass AND ad.oid = d.objid
             JOIN pg_class u ON u.oid = CASE WHEN d.objid = c.oid THEN d.refobjid ELSE ad.adrelid END
             JOIN pg_namespace un ON un.oid = u.relnamespace
             WHERE (d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
                    AND d.deptype IN ('a', 'i'))
                OR (d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                    AND d.refobjid = c.oid)) AS users
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                   AND d.deptype = 'e')
       OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
ORDER BY 1, 2

-- name: filled_views
-- Materialized views that hold rows.
SELECT format('%s.%s', n.nspname, c.relname) AS label FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname !~ '^pg_' ORDER BY 1

-- name: large_objects
SELECT (SELECT count(*) FROM pg_largeobject_metadata) AS objects,
       'pg_largeobject'::regclass::oid AS pages_oid, 'pg_largeobject_metadata'::regclass::oid AS list_oid,
       pg_relation_size('pg_largeobject') AS bytes,
       pg_relation_size('pg_largeobject') / current_setting('block_size')::int AS pages,
       -- LOBLKSIZE of the server's source.
       current_setting('block_size')::int / 4 AS page_size,
       has_table_privilege('pg_largeobject', 'SELECT') AS may_select

-- name: large_object_list
SELECT m.oid, r.rolname AS owner, m.lomacl AS acl, obj_description(m.oid, 'pg_largeobject') AS comment
FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner

-- name: moment
SELECT current_setting('server_version_num')::int AS server_version, current_setting('server_encoding') AS encoding,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)::text AS lsn
