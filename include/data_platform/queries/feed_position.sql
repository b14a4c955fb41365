SELECT position_xid::text::bigint, position_unique_id, system_identifier, timeline, outside_stamp, announced_stamp,
       resync_reason, resync_horizon::text::bigint, window_no
  FROM consumer_positions WHERE consumer = %(consumer)s
