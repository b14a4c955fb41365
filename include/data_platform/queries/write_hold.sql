-- Hold the rows of a batch, and every row of the articles that they are in or may come to.
WITH given AS (
    SELECT g.unique_id, n.unique_id AS known, n.duplicate_of, ARRAY[g.agency_key, n.agency_key] AS agencies,
           coalesce(g.canonical_url, n.canonical_url) AS canonical_url
      FROM unnest(%(ids)s::text[], %(agencies)s::text[], %(urls)s::text[]) AS g (unique_id, agency_key, canonical_url)
      LEFT JOIN news n ON n.unique_id = g.unique_id
), firsts AS (
    SELECT coalesce(duplicate_of, known) AS unique_id FROM given WHERE known IS NOT NULL
    UNION
    SELECT p.unique_id
      FROM (SELECT DISTINCT unnest(agencies) AS agency_key, canonical_url FROM given) g
      JOIN news p ON p.agency_key = g.agency_key AND p.canonical_url = g.canonical_url AND p.duplicate_of IS NULL
), due AS (
    SELECT known AS unique_id FROM given WHERE known IS NOT NULL
    UNION
    SELECT unique_id FROM firsts
    UNION
    SELECT d.unique_id FROM firsts f JOIN news d ON d.duplicate_of = f.unique_id
)
SELECT n.unique_id FROM news n JOIN due USING (unique_id) ORDER BY n.unique_id COLLATE "C" FOR NO KEY UPDATE OF n
