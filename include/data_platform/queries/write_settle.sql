-- The rows whose mark is another by now, and that mark, after the given rows were written: in an article the first is the
-- one with the earliest extracted_at, then the smallest id, and has none. All rows of the articles at stake are reached
-- by the marks as they are: of the primary that was left, or of the one that was come to.
WITH firsts AS (
    SELECT unnest(%(ids)s::text[]) AS unique_id
    UNION
    SELECT duplicate_of FROM news WHERE unique_id = ANY (%(ids)s) AND duplicate_of IS NOT NULL
), its AS (
    SELECT unique_id FROM firsts
    UNION
    SELECT d.unique_id FROM firsts f JOIN news d ON d.duplicate_of = f.unique_id
), ranked AS (
    SELECT n.unique_id, n.duplicate_of, n.canonical_url,
           first_value(n.unique_id) OVER (PARTITION BY n.agency_key, n.canonical_url
                                          ORDER BY n.extracted_at NULLS LAST, n.unique_id COLLATE "C") AS first_id
      FROM news n JOIN its USING (unique_id)
), wanted AS (
    SELECT unique_id, duplicate_of,
           CASE WHEN canonical_url IS NOT NULL THEN nullif(first_id, unique_id) END AS mark
      FROM ranked
)
SELECT unique_id, mark FROM wanted WHERE duplicate_of IS DISTINCT FROM mark
