-- Mark every row that is not the primary of its article: earliest extracted_at, then smallest id.
WITH ranked AS (
    SELECT unique_id, duplicate_of,
           first_value(unique_id) OVER (PARTITION BY agency_key, canonical_url
                                        ORDER BY extracted_at NULLS LAST, unique_id COLLATE "C") AS first_id
      FROM news WHERE canonical_url IS NOT NULL
), due AS (
    SELECT n.unique_id, r.first_id, /*ours*/ AS is_ours
      FROM ranked r JOIN news n USING (unique_id)
     WHERE r.unique_id <> r.first_id AND r.duplicate_of IS DISTINCT FROM r.first_id
), changed AS (
    UPDATE news n SET duplicate_of = due.first_id FROM due WHERE n.unique_id = due.unique_id
    RETURNING n.unique_id, n.change_xid, due.is_ours
), mixed AS (
    -- a new mark makes no row ours that somebody else wrote
    INSERT INTO load_mixed SELECT change_xid, unique_id FROM changed WHERE NOT is_ours ON CONFLICT DO NOTHING
)
SELECT count(*) FROM changed
