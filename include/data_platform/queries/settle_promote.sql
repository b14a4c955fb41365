-- Take the mark off every row that is the primary of its article, or has no article to share.
WITH ranked AS (
    SELECT unique_id, duplicate_of, canonical_url,
           first_value(unique_id) OVER (PARTITION BY agency_key, canonical_url
                                        ORDER BY extracted_at NULLS LAST, unique_id COLLATE "C") AS first_id
      FROM news
)
UPDATE news n SET duplicate_of = NULL
  FROM ranked r
 WHERE n.unique_id = r.unique_id AND r.duplicate_of IS NOT NULL
   AND (r.unique_id = r.first_id OR r.canonical_url IS NULL)
