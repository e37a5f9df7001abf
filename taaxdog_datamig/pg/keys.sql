-- name: foreign_keys
-- Those of table $1, or those to table $2. A key of a partitioned table is listed once, not for each partition.
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
       k.convalidated AS valid,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
               AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey) AS indexed
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND ($1::oid IS NULL OR k.conrelid = $1) AND ($2::oid IS NULL OR k.confrelid = $2)
  AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.oid = k.conparentid
                  AND ($1::oid IS NULL OR o.conrelid = k.conrelid))
ORDER BY c.relname, k.conname

-- name: indexed
-- Whether an index of table $1 begins with column $2.
SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = $1::oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = $2)
