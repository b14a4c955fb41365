-- Beside those announced before: of two runs that were killed either one may have been the last to write outside.
UPDATE consumer_positions SET announced_stamp = concat_ws(' ', announced_stamp, %(stamp)s::text)
 WHERE consumer = %(consumer)s AND window_no = %(number)s
