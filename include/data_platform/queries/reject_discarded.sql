-- What people gave up, the newest first; the older cells of an article that came in are no loss (superseded).
SELECT id, unique_id, agency_key, field, reason, detail, file, row_no, payload::text AS payload, updated_at
  FROM rejects WHERE status = 'discarded' AND reason <> 'superseded' ORDER BY updated_at DESC, id DESC LIMIT %(limit)s
