-- name: foreign_keys
-- Those of table $1, or those to table $2; with neither, all. A key of a partitioned table is listed once, not for each partition.
SELECT k.conname::text AS name,
       k.conrelid AS child, format('%I.%I', cn.nspname, c.relname) AS child_name,
       (SELECT array_agg(a.attname::text ORDER BY u.ord) FROM unnest(k.conkey) WITH ORDINALITY AS u(number, ord)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number) AS child_columns,
       (SELECT array_agg(format_type(a.atttypid, NULL) ORDER BY u.ord) FROM unnest(k.conkey) WITH ORDINALITY AS u(number, ord)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number) AS child_types,
       k.confrelid AS parent, format('%I.%I', pn.nspname, p.relname) AS parent_name,
       (SELECT array_agg(a.attname::text ORDER BY u.ord) FROM unnest(k.confkey) WITH ORDINALITY AS u(number, ord)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number) AS parent_columns,
       (SELECT array_agg(format_type(a.atttypid, NULL) ORDER BY u.ord) FROM unnest(k.confkey) WITH ORDINALITY AS u(number, ord)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number) AS parent_types,
       CASE k.confdeltype WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'null' WHEN 'd' THEN 'default'
            ELSE 'restrict' END AS on_delete,
       CASE -- Constraints that are not enforced came with version 18.
            WHEN NOT coalesce((to_jsonb(k) ->> 'conenforced')::bool, true) THEN 'not-enforced'
            WHEN NOT k.convalidated THEN 'not-valid'
            -- Of the constraint, and of those that partitions have for it.
            WHEN EXISTS (WITH RECURSIVE parts AS (
                             SELECT k.oid UNION ALL
                             SELECT o.oid FROM pg_constraint o JOIN parts ON o.conparentid = parts.oid)
                         SELECT FROM pg_trigger g JOIN parts ON g.tgconstraint = parts.oid
                         WHERE g.tgenabled IN ('D', 'R')) THEN 'disabled' END AS flaw,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
               AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey) AS indexed
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND ($1::oid IS NULL OR k.conrelid = $1) AND ($2::oid IS NULL OR k.confrelid = $2)
  AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.oid = k.conparentid
                  AND ($1::oid IS NULL OR o.conrelid = k.conrelid))
ORDER BY c.relname, k.conname

-- name: leading
-- Columns with which an index of one of the tables $1 begins.
SELECT DISTINCT i.indrelid AS oid, a.attname::text AS name
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = ANY ($1::oid[]) AND i.indisvalid AND i.indpred IS NULL

-- name: uniques
-- Unique indexes of table $1: their terms as SQL, the columns they depend on, and their predicate.
SELECT c.relname::text AS name,
       (SELECT array_agg(pg_get_indexdef(i.indexrelid, k, true) ORDER BY k)
        FROM generate_series(1, i.indnkeyatts) AS k) AS terms,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum > 0
          AND (a.attnum = ANY (i.indkey::int2[])
               OR EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                            AND d.refobjsubid = a.attnum))) AS columns,
       pg_get_expr(i.indpred, i.indrelid) AS predicate,
       -- The column came with version 15.
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_equal
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisready
ORDER BY i.indexrelid

-- name: loose
-- Columns of table $1 whose equal values may be spelled differently.
SELECT a.attname::text AS name FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT c.collisdeterministic

-- name: known_to
-- How many foreign keys refer to the tables $1, and the latest of them: differs when one was added.
SELECT count(*) AS number, coalesce(max(oid::bigint), 0) AS latest FROM pg_constraint
WHERE contype = 'f' AND confrelid = ANY ($1::oid[])

-- name: readable
-- Those of the tables $1 that the role may read.
SELECT c.oid FROM pg_class c WHERE c.oid = ANY ($1::oid[])
  AND has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
