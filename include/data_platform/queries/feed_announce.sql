UPDATE consumer_positions SET announced_stamp = %(stamp)s
 WHERE consumer = %(consumer)s AND window_no = %(number)s
