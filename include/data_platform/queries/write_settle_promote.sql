-- In the given articles, take the mark off the primary row.
WITH ranked AS (
    SELECT n.unique_id, n.duplicate_of,
           first_value(n.unique_id) OVER (PARTITION BY n.agency_key, n.canonical_url
                                          ORDER BY n.extracted_at NULLS LAST, n.unique_id COLLATE "C") AS first_id
      FROM unnest(%(agencies)s::text[], %(urls)s::text[]) AS a (agency_key, canonical_url)
      JOIN news n USING (agency_key, canonical_url)
)
UPDATE news n SET duplicate_of = NULL
  FROM ranked r
 WHERE n.unique_id = r.unique_id AND r.unique_id = r.first_id AND r.duplicate_of IS NOT NULL
