-- A page of changed rows. The page is fixed by the index first, so that no plan reads more contents than it gives.
WITH page AS MATERIALIZED (
    SELECT unique_id, change_xid, duplicate_of
      FROM news
     WHERE (change_xid, unique_id) > (%(xid)s::xid8, %(unique_id)s::text) /*until*/
     ORDER BY change_xid, unique_id
     LIMIT %(rows)s
)
SELECT p.*, page.change_xid, page.duplicate_of
  FROM page JOIN news_published p USING (unique_id)
 ORDER BY page.change_xid, page.unique_id
