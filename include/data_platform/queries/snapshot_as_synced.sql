-- Which rows the dataset was last told of as they are now; a change since gives a row another change_xid.
SELECT n.unique_id
  FROM unnest(%(ids)s::text[]) AS g (unique_id)
  JOIN news n ON n.unique_id = g.unique_id
  LEFT JOIN hf_sync_marks m ON m.unique_id = n.unique_id
 WHERE m.synced_xid = n.change_xid OR (%(or_unmarked)s AND m.synced_xid IS NULL)
