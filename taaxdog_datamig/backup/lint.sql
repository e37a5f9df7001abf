-- What of a database a backup of it does not hold, or does not bring back everywhere. Each gives names.

-- name: foreign_tables
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'f' ORDER BY 1

-- name: restoring
SELECT 'datamig_restore' WHERE to_regclass('datamig_restore.restore') IS NOT NULL

-- name: bytes
SELECT current_setting('server_encoding') WHERE current_setting('server_encoding') = 'SQL_ASCII'

-- name: temporary
SELECT count(*)::text FROM pg_class c WHERE c.relpersistence = 't' AND c.relkind IN ('r', 'p') HAVING count(*) > 0

-- name: extension_rows
-- Tables of extensions that have rows, and that the extension did not declare as its configuration.
SELECT c.oid::regclass::text FROM pg_class c
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid
WHERE c.relkind = 'r' AND c.relpages > 0 AND NOT coalesce(c.oid = ANY (e.extconfig), false) ORDER BY 1

-- name: not_valid
SELECT format('%I on %s', c.conname, CASE WHEN c.conrelid <> 0 THEN c.conrelid::regclass::text
                                          ELSE c.contypid::regtype::text END)
FROM pg_constraint c WHERE NOT c.convalidated AND c.connamespace NOT IN (
    'pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1

-- name: keys_off
-- Foreign keys that a disabled trigger does not prove; pg_dump writes them as if it did.
SELECT DISTINCT format('%I on %s', c.conname, c.conrelid::regclass::text)
FROM pg_constraint c JOIN pg_trigger t ON t.tgconstraint = c.oid
WHERE c.contype = 'f' AND c.convalidated AND t.tgisinternal AND t.tgenabled IN ('D', 'R') ORDER BY 1

-- name: invalid_indexes
SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind <> 'p' AND n.nspname !~ '^pg_' ORDER BY 1

-- name: functions
-- Functions, written as text and with the caller's search path, that constraints, indexes and generated columns
-- call. pg_restore's search path is empty.
SELECT DISTINCT p.oid::regprocedure::text
FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid JOIN pg_language l ON l.oid = p.prolang
WHERE d.refclassid = 'pg_proc'::regclass AND p.oid >= 16384 AND l.lanname NOT IN ('internal', 'c')
  AND p.prosqlbody IS NULL AND NOT coalesce(p.proconfig::text LIKE '%search_path=%', false)
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = p.oid AND e.classid = 'pg_proc'::regclass AND e.deptype = 'e')
  AND (d.classid = 'pg_constraint'::regclass
       OR (d.classid = 'pg_class'::regclass
           AND EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid AND c.relkind IN ('i', 'I')))
       OR (d.classid = 'pg_attrdef'::regclass
           AND EXISTS (SELECT FROM pg_attrdef ad JOIN pg_attribute a ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum
                       WHERE ad.oid = d.objid AND a.attgenerated <> '')))
ORDER BY 1

-- name: extensions
SELECT format('%s %s', extname, extversion) FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1

-- name: roles
-- That own something here, hold a privilege, or are named by a policy.
SELECT DISTINCT r.rolname::text FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype IN ('o', 'a', 'r') AND r.rolname !~ '^pg_'
  AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1

-- name: tablespaces
SELECT DISTINCT t.spcname::text FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace
WHERE t.spcname <> 'pg_global' ORDER BY 1

-- name: superuser
SELECT format('event trigger %I', evtname) FROM pg_event_trigger
UNION ALL
SELECT format('publication %I', p.pubname) FROM pg_publication p
WHERE p.puballtables OR to_jsonb(p) -> 'puballsequences' = 'true'
   -- The catalog of published schemas came with PostgreSQL 15.
   OR p.oid IN (SELECT d.refobjid FROM pg_depend d WHERE d.refclassid = 'pg_publication'::regclass
                AND d.classid = to_regclass('pg_catalog.pg_publication_namespace'))
UNION ALL
SELECT format('foreign data wrapper %I', w.fdwname) FROM pg_foreign_data_wrapper w
WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = w.oid
                  AND e.classid = 'pg_foreign_data_wrapper'::regclass AND e.deptype = 'e')
UNION ALL
SELECT format('subscription %I', subname) FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT format('function %s', p.oid::regprocedure) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE NOT l.lanpltrusted AND p.prokind <> 'a' AND p.oid >= 16384
  -- An extension brings its functions along, a range its constructors.
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = p.oid AND e.classid = 'pg_proc'::regclass
                  AND e.deptype IN ('e', 'i'))
ORDER BY 1

-- name: settings
-- Of the database itself, for all roles or one: names, never values.
SELECT DISTINCT split_part(setting, '=', 1) FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS setting
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1

-- name: passwords
-- What pg_dump writes down with the passwords that it holds.
SELECT format('user mapping of server %I', srvname) FROM pg_user_mappings
UNION
SELECT format('subscription %I', subname) FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1

-- name: keys_outward
-- Foreign keys of the tables in the backup to tables that are not.
WITH kept AS (
    SELECT x.oid FROM unnest($1::oid[]) AS given(oid) CROSS JOIN LATERAL (
        SELECT given.oid UNION SELECT a.relid::oid FROM pg_partition_ancestors(given.oid) AS a(relid)) x)
SELECT DISTINCT format('%I on %s', c.conname, c.conrelid::regclass::text) FROM pg_constraint c
WHERE c.contype = 'f' AND c.conparentid = 0
  AND c.conrelid IN (SELECT oid FROM kept) AND c.confrelid NOT IN (SELECT oid FROM kept) ORDER BY 1
