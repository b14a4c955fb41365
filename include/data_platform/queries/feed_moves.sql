-- Between which months rows have gone that a reader by month has yet to take: wherever one left a tombstone, and where it
-- is now. Of a renamed row nobody can say where it is now: nothing ties its new id to the old one.
SELECT DISTINCT to_char(t.published_month, 'YYYY-MM'),
       CASE WHEN t.reason = 'renamed' THEN '' ELSE to_char(n.published_date, 'YYYY-MM') END
  FROM news_tombstones t
  LEFT JOIN news n USING (unique_id)
 WHERE t.change_xid >= %(xid)s::xid8 AND t.change_xid < pg_snapshot_xmax(pg_current_snapshot())
   AND t.published_month BETWEEN '0001-01-01' AND '9999-12-31'
   AND (t.reason = 'renamed'
        OR n.published_date BETWEEN '0001-01-01' AND '9999-12-31'
           AND to_char(t.published_month, 'YYYY-MM') <> to_char(n.published_date, 'YYYY-MM'))
