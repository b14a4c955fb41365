-- The months in which a window has something: changed rows by where they are now, tombstones by where they were. Counted
-- are those of the window. Months of what was committed since are named too: whoever writes months from a snapshot sees
-- it there, and a row that went from one month to another must not be written in one and left in the other. Ids that
-- this server has yet to give out came with rows restored from another one. A day that no file can be named by (infinity,
-- years of other than four digits) was never published.
SELECT to_char(published_date, 'YYYY-MM') AS month,
       count(*) FILTER (WHERE change_xid < %(horizon)s::xid8) AS changed, 0::bigint AS buried
  FROM news
 WHERE (change_xid, unique_id) > (%(xid)s::xid8, %(unique_id)s::text)
   AND change_xid < pg_snapshot_xmax(pg_current_snapshot())
   AND published_date BETWEEN '0001-01-01' AND '9999-12-31'
 GROUP BY 1
UNION ALL
SELECT to_char(published_month, 'YYYY-MM'), 0, count(*) FILTER (WHERE change_xid < %(horizon)s::xid8)
  FROM news_tombstones
 WHERE change_xid >= %(xid)s::xid8 AND change_xid < pg_snapshot_xmax(pg_current_snapshot())
   AND published_month BETWEEN '0001-01-01' AND '9999-12-31'
 GROUP BY 1
