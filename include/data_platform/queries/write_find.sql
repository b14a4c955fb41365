-- What news has of a batch: its ids, and the primary rows of its articles. The keys come as JSON, which the driver
-- writes and the server reads many times as fast as arrays.
SELECT g.unique_id, n.unique_id IS NOT NULL, g.agency_key, g.canonical_url, p.unique_id
  FROM ROWS FROM (json_array_elements_text(%(ids)s::json), json_array_elements_text(%(agencies)s::json),
                  json_array_elements_text(%(urls)s::json)) AS g (unique_id, agency_key, canonical_url)
  LEFT JOIN news n ON n.unique_id = g.unique_id
  LEFT JOIN news p ON p.agency_key = g.agency_key AND p.canonical_url = g.canonical_url AND p.duplicate_of IS NULL
 WHERE n.unique_id IS NOT NULL OR p.unique_id IS NOT NULL
