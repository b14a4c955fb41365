-- What waits for a reader. The transaction with the smallest id began first, as far as ids and clocks agree. Ids that
-- this server has yet to give out came with rows restored from another one: a resync has read them, they do not wait.
WITH waiting AS MATERIALIZED (
    SELECT change_xid, unique_id, updated_at AS since FROM news
     WHERE (change_xid, unique_id) > (%(xid)s::xid8, %(unique_id)s::text)
       AND (%(is_resync)s OR change_xid < pg_snapshot_xmax(pg_current_snapshot()))
), buried AS MATERIALIZED (
    SELECT change_xid, id, created_at AS since FROM news_tombstones
     WHERE NOT %(is_resync)s AND change_xid >= %(xid)s::xid8 AND change_xid < pg_snapshot_xmax(pg_current_snapshot())
)
SELECT (SELECT count(*) FROM waiting) AS row_count,
       (SELECT count(*) FROM buried) AS tombstone_count,
       now() - least((SELECT since FROM waiting ORDER BY change_xid, unique_id LIMIT 1),
                     (SELECT since FROM buried ORDER BY change_xid, id LIMIT 1)) AS oldest
