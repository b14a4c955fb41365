-- One article under several ids: the primary is the earliest extracted_at, then the smallest id; the others are marked.
-- Rows of news that the source does not have take part. Whatever comes to an address that a row of news holds unmarked
-- is marked as its double, even if that row is about to leave it: only one row of an article may be unmarked at any
-- time, in whatever order segments load. `settle` then puts the right one first. Returns how many rows of the source
-- are not the primary of their article.
WITH members AS (
    SELECT segment_no, unique_id, agency_key, canonical_url, extracted_at FROM load_keys WHERE canonical_url IS NOT NULL
    UNION ALL
    SELECT NULL, n.unique_id, n.agency_key, n.canonical_url, n.extracted_at
      FROM news n
     WHERE n.canonical_url IS NOT NULL AND NOT EXISTS (SELECT FROM load_keys k WHERE k.unique_id = n.unique_id)
), ranked AS (
    SELECT *,
           first_value(unique_id) OVER (PARTITION BY agency_key, canonical_url
                                        ORDER BY extracted_at NULLS LAST, unique_id COLLATE "C") AS first_id
      FROM members
), marked AS (
    INSERT INTO load_doubles (run_id, segment_no, unique_id, duplicate_of)
    SELECT %(run)s, r.segment_no, r.unique_id, coalesce(held.unique_id, r.first_id)
      FROM ranked r
      LEFT JOIN news held ON held.agency_key = r.agency_key AND held.canonical_url = r.canonical_url
                         AND held.duplicate_of IS NULL
     WHERE r.segment_no IS NOT NULL AND r.unique_id <> coalesce(held.unique_id, r.first_id)
)
SELECT count(*) FROM ranked WHERE segment_no IS NOT NULL AND unique_id <> first_id
