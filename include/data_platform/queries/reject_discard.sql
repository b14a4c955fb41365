-- Open rejects are given up, by the id of their row or by their own number; why is kept behind what was wrong with them.
UPDATE rejects
   SET status = 'discarded', updated_at = now(), detail = concat_ws('; ', nullif(detail, ''), %(why)s::text)
 WHERE status = 'open' AND (unique_id = ANY (%(ids)s::text[]) OR id = ANY (%(numbers)s::bigint[]))
RETURNING id, unique_id, reason, detail
