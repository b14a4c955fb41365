-- A page of pending rows, and a note of the version in which each was handed out, of one snapshot. Locks are taken in the
-- order of unique_id, so that two processes do not wait for each other.
WITH page AS MATERIALIZED (
    SELECT n.unique_id, n.change_xid
      FROM news n LEFT JOIN hf_sync_marks m ON m.unique_id = n.unique_id
     WHERE n.unique_id > %(after)s::text AND m.synced_xid IS DISTINCT FROM n.change_xid /*since*/
     ORDER BY n.unique_id
     LIMIT %(rows)s
), noted AS (
    INSERT INTO hf_sync_marks AS m (unique_id, handed_xid, handed_by)
    SELECT unique_id, change_xid, %(process)s FROM page ORDER BY unique_id
    ON CONFLICT (unique_id) DO UPDATE
       SET handed_at = now(),
           -- A mark names ids only. While another process holds another version, it cannot tell which one arrived, so it
           -- shall prove neither: the row stays pending once more. 'several' is no process, so it stays so until a mark.
           handed_xid = CASE WHEN m.handed_xid IS DISTINCT FROM m.synced_xid
                              AND m.handed_by <> excluded.handed_by AND m.handed_xid <> excluded.handed_xid
                             THEN '0' ELSE excluded.handed_xid END,
           handed_by = CASE WHEN m.handed_xid IS DISTINCT FROM m.synced_xid AND m.handed_by <> excluded.handed_by
                            THEN 'several' ELSE excluded.handed_by END
)
SELECT p.* FROM page JOIN news_published p USING (unique_id) ORDER BY p.unique_id
