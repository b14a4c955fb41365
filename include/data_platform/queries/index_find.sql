-- Keys, indexes and foreign keys of news, in the server's own words. kind: p(rimary), u(nique), f(oreign), i(ndex).
SELECT con.conname AS name, con.contype::text AS kind, pg_get_constraintdef(con.oid) AS definition,
       pg_get_indexdef(nullif(con.conindid, 0)) AS index_definition
  FROM pg_constraint con
 WHERE con.conrelid = 'news'::regclass AND con.contype IN ('p', 'u', 'f')
UNION ALL
SELECT c.relname, 'i', NULL, pg_get_indexdef(c.oid)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = 'news'::regclass
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u'))
 ORDER BY 2, 1
