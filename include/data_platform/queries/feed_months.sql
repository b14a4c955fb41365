-- The months in which a window has something: changed rows by where they are now, tombstones by where they were.
SELECT to_char(published_date, 'YYYY-MM') AS month, count(*) AS changed, 0::bigint AS buried
  FROM news WHERE (change_xid, unique_id) > (%(xid)s::xid8, %(unique_id)s::text) AND change_xid < %(horizon)s::xid8
 GROUP BY 1
UNION ALL
SELECT to_char(published_month, 'YYYY-MM'), 0, count(*)
  FROM news_tombstones WHERE change_xid >= %(xid)s::xid8 AND change_xid < %(horizon)s::xid8
 GROUP BY 1
