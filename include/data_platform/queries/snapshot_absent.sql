-- What is known of published rows that are not in news: whether one was buried, whether a reject of it is open. A row
-- that was extracted after the burial came later: its deletion is not what that tombstone tells of. That an update did
-- not find a row (unique_id_unknown) only says once more that it is not there.
WITH buried AS (
    SELECT unique_id, max(created_at) AS buried_at FROM news_tombstones WHERE reason <> 'moved' GROUP BY unique_id
)
SELECT g.unique_id,
       b.buried_at IS NOT NULL AND coalesce(g.extracted_at AT TIME ZONE 'UTC' <= b.buried_at, true) AS is_buried,
       EXISTS (SELECT FROM rejects r WHERE r.unique_id = g.unique_id AND r.status = 'open'
                                       AND r.reason <> 'unique_id_unknown') AS is_rejected
  FROM unnest(%(ids)s::text[], %(extracted)s::timestamp[]) AS g (unique_id, extracted_at)
  LEFT JOIN buried b ON b.unique_id = g.unique_id
