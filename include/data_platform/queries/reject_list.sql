SELECT id, unique_id, agency_key, field, reason, detail, file, row_no, payload::text AS payload, created_at
  FROM rejects WHERE status = 'open' ORDER BY id LIMIT %(limit)s
