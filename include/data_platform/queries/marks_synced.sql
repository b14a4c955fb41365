-- Mark as arrived what was handed out. Returns how many rows that proves, how many it cannot (handed out in two versions
-- at once), and the ids that were never handed out.
WITH held AS (
    SELECT unique_id FROM hf_sync_marks WHERE unique_id = ANY (%(ids)s::text[]) ORDER BY unique_id FOR UPDATE
), marked AS (
    UPDATE hf_sync_marks m SET synced_xid = m.handed_xid, synced_at = now()
      FROM held WHERE m.unique_id = held.unique_id AND m.handed_xid IS DISTINCT FROM m.synced_xid
    RETURNING m.synced_xid
)
SELECT (SELECT count(*) FROM marked WHERE synced_xid <> '0'),
       (SELECT count(*) FROM marked WHERE synced_xid = '0'),
       ARRAY (SELECT unnest(%(ids)s::text[]) EXCEPT SELECT unique_id FROM held ORDER BY 1)
