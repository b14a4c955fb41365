-- Take the mark off every row that is the primary of its article, or has no article to share.
WITH ranked AS (
    SELECT unique_id, duplicate_of, canonical_url,
           first_value(unique_id) OVER (PARTITION BY agency_key, canonical_url
                                        ORDER BY extracted_at NULLS LAST, unique_id COLLATE "C") AS first_id
      FROM news
), due AS (
    SELECT n.unique_id, /*ours*/ AS is_ours
      FROM ranked r JOIN news n USING (unique_id)
     WHERE r.duplicate_of IS NOT NULL AND (r.unique_id = r.first_id OR r.canonical_url IS NULL)
), changed AS (
    UPDATE news n SET duplicate_of = NULL FROM due WHERE n.unique_id = due.unique_id
    RETURNING n.unique_id, n.change_xid, due.is_ours
), mixed AS (
    INSERT INTO load_mixed SELECT change_xid, unique_id FROM changed WHERE NOT is_ours ON CONFLICT DO NOTHING
)
SELECT count(*) FROM changed
