-- One article under several ids: the primary is the earliest extracted_at, then the smallest id; the others are marked.
-- Rows of news that the source does not have take part. While a row of news is unmarked, newcomers are marked
-- as its doubles, because only one row of an article may be unmarked; `settle` then puts the right one first.
WITH members AS (
    SELECT segment_no, unique_id, agency_key, canonical_url, extracted_at FROM load_keys WHERE canonical_url IS NOT NULL
    UNION ALL
    SELECT NULL, n.unique_id, n.agency_key, n.canonical_url, n.extracted_at
      FROM news n
     WHERE n.canonical_url IS NOT NULL AND NOT EXISTS (SELECT FROM load_keys k WHERE k.unique_id = n.unique_id)
), ranked AS (
    SELECT *,
           count(*) OVER article AS ids,
           first_value(unique_id) OVER (article ORDER BY extracted_at NULLS LAST, unique_id COLLATE "C") AS first_id
      FROM members WINDOW article AS (PARTITION BY agency_key, canonical_url)
)
INSERT INTO load_doubles (run_id, segment_no, unique_id, duplicate_of)
SELECT %(run)s, r.segment_no, r.unique_id, coalesce(held.unique_id, r.first_id)
  FROM ranked r
  LEFT JOIN news held ON held.agency_key = r.agency_key AND held.canonical_url = r.canonical_url
                     AND held.duplicate_of IS NULL
 WHERE r.ids > 1 AND r.segment_no IS NOT NULL AND r.unique_id <> coalesce(held.unique_id, r.first_id)
