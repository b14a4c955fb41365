-- Rows that are no more need no mark.
DELETE FROM hf_sync_marks m
 USING news_tombstones t
 WHERE t.unique_id = m.unique_id AND t.change_xid >= %(xid)s::xid8 AND t.change_xid < %(horizon)s::xid8
   AND NOT EXISTS (SELECT FROM news n WHERE n.unique_id = m.unique_id)
