-- Rows without their equal in the table that no reject can explain, by state.
SELECT state, count(*) FROM validation_match m
 WHERE state IN ('missing', 'differs', 'unmarked', 'misfiled')
   AND NOT (state IN ('missing', 'differs') AND EXISTS (SELECT FROM rejects r WHERE r.unique_id = m.unique_id))
 GROUP BY 1
