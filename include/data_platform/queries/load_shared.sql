-- What rows that share an id hold; gives how many of them lose.
WITH seen AS (
    UPDATE load_duplicates d
       SET content_digest = s.digest, payload = s.payload::json, payload_digest = s.payload_digest
      FROM unnest(%(files)s::text[], %(rows)s::bigint[], %(digests)s::text[], %(payloads)s::text[],
                  %(payload_digests)s::text[]) AS s (file, row_no, digest, payload, payload_digest)
     WHERE d.run_id = %(run)s AND d.file = s.file AND d.row_no = s.row_no
    RETURNING is_winner
)
SELECT count(*) FILTER (WHERE NOT is_winner) FROM seen
