UPDATE consumer_positions
   SET position_xid = %(xid)s::xid8, position_unique_id = %(unique_id)s,
       system_identifier = %(system_identifier)s, timeline = %(timeline)s,
       -- Until a resync has been stamped, nothing is known of what stands outside.
       outside_stamp = coalesce(%(stamp)s, CASE WHEN NOT %(is_resync)s THEN outside_stamp END),
       announced_stamp = CASE WHEN %(stamp)s::text IS NULL THEN announced_stamp END,
       resync_reason = %(resync_reason)s, resync_horizon = %(resync_horizon)s::xid8,
       updated_at = now()
 WHERE consumer = %(consumer)s AND window_no = %(number)s
