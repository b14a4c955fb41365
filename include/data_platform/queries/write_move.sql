-- Rows that a write moves to another article, and the mark with which each comes in beside whoever is there: only one
-- row of an article may be unmarked at any time. `settle` then puts the right one first.
CREATE TEMPORARY TABLE moving ON COMMIT DROP AS
WITH moved AS (
    SELECT n.unique_id, n.agency_key AS old_agency, n.canonical_url AS old_url,
           /*agency*/ AS agency_key, /*url*/ AS canonical_url
      FROM incoming i JOIN news n USING (unique_id)
     WHERE (/*agency*/, /*url*/) IS DISTINCT FROM (n.agency_key, n.canonical_url) AND NOT /*stale*/
)
SELECT m.*,
       CASE WHEN m.canonical_url IS NOT NULL
            THEN coalesce(p.unique_id,
                          nullif(first_value(m.unique_id) OVER (PARTITION BY m.agency_key, m.canonical_url
                                                                ORDER BY m.unique_id COLLATE "C"), m.unique_id))
       END AS mark
  FROM moved m
  LEFT JOIN news p ON p.agency_key = m.agency_key AND p.canonical_url = m.canonical_url
                  AND p.duplicate_of IS NULL AND p.unique_id <> m.unique_id
