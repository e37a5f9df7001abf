-- Large objects as they come from a backup.

-- name: staging
CREATE TEMP TABLE datamig_large_objects (oid oid, owner name, acl text, comment text);
CREATE TEMP TABLE datamig_pages (loid oid, pageno int, data bytea);

-- name: create
-- Those that are there already were made by an earlier try, or are the application's.
SELECT lo_create(o.oid) AS oid, o.owner::text, o.comment FROM pg_temp.datamig_large_objects o
WHERE NOT EXISTS (SELECT FROM pg_largeobject_metadata m WHERE m.oid = o.oid)

-- name: write
-- In the order of the pages; length of each object included, for the last page is never a hole.
SELECT count(lo_put(loid, pageno::bigint * $1, data))
FROM (SELECT * FROM pg_temp.datamig_pages WHERE loid = ANY ($2) ORDER BY loid, pageno) p

-- name: may_compare
SELECT has_table_privilege('pg_largeobject', 'SELECT')

-- name: differences
-- Objects of the backup that are not there, or hold other bytes, once all of its pages are staged.
SELECT o.oid, m.oid IS NULL AS missing, o.owner::text, o.comment
FROM pg_temp.datamig_large_objects o LEFT JOIN pg_largeobject_metadata m ON m.oid = o.oid
WHERE m.oid IS NULL OR o.oid IN (
    SELECT coalesce(b.loid, p.loid) FROM pg_temp.datamig_pages b
    FULL JOIN (SELECT loid, pageno, data FROM pg_largeobject
               WHERE loid IN (SELECT oid FROM pg_temp.datamig_large_objects)) p
    ON p.loid = b.loid AND p.pageno = b.pageno
    WHERE b.data IS DISTINCT FROM p.data)

-- name: newer
SELECT count(*) FROM pg_largeobject_metadata m
WHERE NOT EXISTS (SELECT FROM pg_temp.datamig_large_objects o WHERE o.oid = m.oid)

-- name: empty
-- Opened to be written (131072: INV_WRITE of libpq-fs.h).
SELECT count(lo_truncate(fd, 0) + lo_close(fd))
FROM (SELECT lo_open(oid, 131072) AS fd FROM unnest($1::oid[]) AS u(oid) OFFSET 0) AS opened

-- name: grants
SELECT format('REVOKE ALL ON LARGE OBJECT %s FROM %I', o.oid, o.owner) AS sql, 0 AS step
FROM pg_temp.datamig_large_objects o WHERE o.oid = ANY ($1) AND o.acl IS NOT NULL
UNION ALL
SELECT format('GRANT %s ON LARGE OBJECT %s TO %s%s', x.privilege_type, o.oid,
              CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
              CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), 1
FROM pg_temp.datamig_large_objects o CROSS JOIN LATERAL aclexplode(o.acl::aclitem[]) x
WHERE o.oid = ANY ($1) AND o.acl IS NOT NULL
ORDER BY step
