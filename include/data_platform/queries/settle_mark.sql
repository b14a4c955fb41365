-- Mark every row that is not the primary of its article: earliest extracted_at, then smallest id.
WITH ranked AS (
    SELECT unique_id, duplicate_of,
           count(*) OVER article AS ids,
           first_value(unique_id) OVER (article ORDER BY extracted_at NULLS LAST, unique_id COLLATE "C") AS first_id
      FROM news WHERE canonical_url IS NOT NULL WINDOW article AS (PARTITION BY agency_key, canonical_url)
)
UPDATE news n SET duplicate_of = r.first_id
  FROM ranked r
 WHERE r.ids > 1 AND n.unique_id = r.unique_id AND r.unique_id <> r.first_id AND r.duplicate_of IS DISTINCT FROM r.first_id
