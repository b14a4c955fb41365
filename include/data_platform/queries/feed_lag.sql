-- What waits for a reader. The transaction with the smallest id began first, as far as ids and clocks agree.
SELECT (SELECT count(*) FROM news WHERE (change_xid, unique_id) > (%(xid)s::xid8, %(unique_id)s::text)) AS row_count,
       (SELECT count(*) FROM news_tombstones WHERE NOT %(is_resync)s AND change_xid >= %(xid)s::xid8) AS tombstone_count,
       now() - least(
           (SELECT updated_at FROM news WHERE (change_xid, unique_id) > (%(xid)s::xid8, %(unique_id)s::text)
             ORDER BY change_xid, unique_id LIMIT 1),
           (SELECT created_at FROM news_tombstones WHERE NOT %(is_resync)s AND change_xid >= %(xid)s::xid8
             ORDER BY change_xid, id LIMIT 1)) AS oldest
