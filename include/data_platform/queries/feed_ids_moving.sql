-- Rows that have changed since a horizon, and those that went.
SELECT unique_id FROM news WHERE change_xid >= %(horizon)s::xid8
UNION
SELECT unique_id FROM news_tombstones WHERE change_xid >= %(horizon)s::xid8
