-- Which of some ids a reader has yet to take: rows changed, and rows buried, from its position on.
SELECT g.unique_id
  FROM unnest(%(ids)s::text[]) AS g (unique_id)
 WHERE EXISTS (SELECT FROM news n WHERE n.unique_id = g.unique_id AND n.change_xid >= %(xid)s::xid8)
    OR EXISTS (SELECT FROM news_tombstones t WHERE t.unique_id = g.unique_id AND t.change_xid >= %(xid)s::xid8)
