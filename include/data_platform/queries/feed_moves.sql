-- Between which months rows have gone that a reader by month has yet to take: wherever one left a tombstone, and where it
-- is now.
SELECT DISTINCT to_char(t.published_month, 'YYYY-MM'), to_char(n.published_date, 'YYYY-MM')
  FROM news_tombstones t
  JOIN news n USING (unique_id)
 WHERE t.change_xid >= %(xid)s::xid8 AND t.change_xid < pg_snapshot_xmax(pg_current_snapshot())
   AND t.published_month BETWEEN '0001-01-01' AND '9999-12-31'
   AND n.published_date BETWEEN '0001-01-01' AND '9999-12-31'
   AND to_char(t.published_month, 'YYYY-MM') <> to_char(n.published_date, 'YYYY-MM')
