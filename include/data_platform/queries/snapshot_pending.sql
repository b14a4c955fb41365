-- Which of some ids a reader has yet to take: rows changed, and rows buried, from its position on. Ids of transactions
-- that this server has yet to give out came with rows restored from another one: those a resync has read.
SELECT g.unique_id
  FROM unnest(%(ids)s::text[]) AS g (unique_id)
 WHERE EXISTS (SELECT FROM news n WHERE n.unique_id = g.unique_id AND n.change_xid >= %(xid)s::xid8
                                    AND n.change_xid < pg_snapshot_xmax(pg_current_snapshot()))
    OR EXISTS (SELECT FROM news_tombstones t WHERE t.unique_id = g.unique_id AND t.change_xid >= %(xid)s::xid8
                                               AND t.change_xid < pg_snapshot_xmax(pg_current_snapshot()))
