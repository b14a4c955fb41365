-- Written down when it is decided: a position that is ahead of the server today would look like any other next week.
UPDATE consumer_positions
   SET position_xid = '0', position_unique_id = '', system_identifier = %(system_identifier)s, timeline = %(timeline)s,
       outside_stamp = NULL, announced_stamp = NULL, resync_reason = %(reason)s, resync_horizon = '0', updated_at = now()
 WHERE consumer = %(consumer)s
