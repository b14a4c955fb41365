-- A new window makes the ones before it void: of two runs of one reader only the newer can store anything.
INSERT INTO consumer_positions AS c (consumer, position_xid, system_identifier, resync_reason, resync_horizon, window_no)
VALUES (%(consumer)s, '0', '', 'no position yet', '0', 1)
ON CONFLICT (consumer) DO UPDATE SET window_no = c.window_no + 1
