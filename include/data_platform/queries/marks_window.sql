-- Mark what a sync has published: every version of its window. A row changed since carries another change_xid and stays
-- pending. A resync has also read the rows restored from another server, with ids that this one has yet to give out.
-- Locks are taken in the order of unique_id, as everywhere.
INSERT INTO hf_sync_marks AS m (unique_id, handed_xid, handed_by, synced_xid, synced_at)
SELECT unique_id, change_xid, %(process)s, change_xid, now()
  FROM news
 WHERE (change_xid, unique_id) > (%(xid)s::xid8, %(unique_id)s::text)
   AND (change_xid < %(horizon)s::xid8 OR %(is_resync)s AND change_xid >= pg_snapshot_xmax(pg_current_snapshot()))
 ORDER BY unique_id
ON CONFLICT (unique_id) DO UPDATE
   SET handed_xid = excluded.handed_xid, handed_by = excluded.handed_by, handed_at = now(),
       synced_xid = excluded.synced_xid, synced_at = now()
 WHERE m.synced_xid IS DISTINCT FROM excluded.synced_xid
