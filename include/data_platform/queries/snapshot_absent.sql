-- What is known of published rows that are not in news: whether one was buried, whether a reject of it is open. That an
-- update did not find it (unique_id_unknown) only says once more that it is not there.
SELECT g.unique_id,
       EXISTS (SELECT FROM news_tombstones t WHERE t.unique_id = g.unique_id AND t.reason <> 'moved') AS is_buried,
       EXISTS (SELECT FROM rejects r WHERE r.unique_id = g.unique_id AND r.status = 'open'
                                       AND r.reason <> 'unique_id_unknown') AS is_rejected
  FROM unnest(%(ids)s::text[]) AS g (unique_id)
