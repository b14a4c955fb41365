-- A row that was rejected once and is in news now was mended at its source: its reject is settled.
UPDATE rejects r SET status = 'replayed', updated_at = now()
 WHERE r.status = 'open' AND r.origin = 'migration' AND r.reason <> 'superseded'
   AND r.last_run_id IS DISTINCT FROM %(run)s
   AND EXISTS (SELECT FROM news n WHERE n.unique_id = r.unique_id)
