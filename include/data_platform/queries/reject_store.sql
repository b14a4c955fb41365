WITH given AS (
    SELECT * FROM unnest(%(digests)s::text[], %(ids)s::text[], %(agencies)s::text[], %(fields)s::text[],
                         %(reasons)s::text[], %(details)s::text[], %(payloads)s::text[], %(files)s::text[],
                         %(rows)s::bigint[])
           AS g (payload_digest, unique_id, agency_key, field, reason, detail, payload, file, row_no)
), stored AS (
    INSERT INTO rejects AS r (payload_digest, unique_id, agency_key, field, reason, detail, payload, origin, file,
                              row_no, first_run_id, last_run_id)
    SELECT DISTINCT ON (payload_digest, reason)
           payload_digest, unique_id, agency_key, field, reason, detail, payload::json, %(origin)s, file, row_no,
           %(run)s, %(run)s
      FROM given ORDER BY payload_digest, reason, file, row_no
    ON CONFLICT (payload_digest, reason) DO UPDATE
        SET last_run_id = excluded.last_run_id, updated_at = now(),
            status = CASE r.status WHEN 'replayed' THEN 'open' ELSE r.status END
    RETURNING payload_digest, reason
)
SELECT count(*) FROM given JOIN stored USING (payload_digest, reason)
