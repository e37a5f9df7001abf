-- name: tables
-- Tables of the application: no partitions, which are part of theirs, no ledger, nothing temporary.
SELECT format('%I.%I', n.nspname, c.relname) AS quoted
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'datamig' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY n.nspname, c.relname

-- name: visible
SELECT pg_table_is_visible($1::oid)

-- name: pin
SELECT set_config(name, value, true) FROM unnest($1::text[], $2::text[]) AS s(name, value)
