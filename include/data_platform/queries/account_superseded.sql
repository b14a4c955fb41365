-- A row that lost its id to a newer one with other content is kept whole; nothing waits to be done about it.
INSERT INTO rejects AS r (payload_digest, unique_id, agency_key, field, reason, detail, payload, origin, file, row_no,
                          first_run_id, last_run_id, status)
SELECT DISTINCT ON (payload_digest)
       payload_digest, unique_id, NULL, 'unique_id', 'superseded',
       'another row of the source has this id and a later extracted_at', payload, 'migration', file, row_no, run_id, run_id,
       'discarded'
  FROM load_duplicates
 WHERE run_id = %(run)s AND NOT is_winner AND kind = 'other_content' AND payload IS NOT NULL
 ORDER BY payload_digest, file, row_no
ON CONFLICT (payload_digest, reason) DO UPDATE SET last_run_id = excluded.last_run_id, updated_at = now()
