SELECT t.unique_id, t.agency_key, t.url, t.published_month, t.reason,
       EXISTS (SELECT FROM news n WHERE n.unique_id = t.unique_id) AS exists_now, t.change_xid, t.id
  FROM news_tombstones t
 WHERE (t.change_xid, t.id) > (%(xid)s::xid8, %(id)s) AND t.change_xid < %(horizon)s::xid8
 ORDER BY t.change_xid, t.id
 LIMIT %(rows)s
