SELECT k.agency_key, count(*)
  FROM load_keys k
 WHERE NOT EXISTS (SELECT FROM agencies a WHERE a.key = k.agency_key AND NOT a.is_stub)
 GROUP BY 1 ORDER BY 2 DESC, 1
