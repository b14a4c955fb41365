-- Rows without their equal in the table. Only one whose id stands among the rejects can be a known duplicate or reject,
-- and is read to see; of the others the first are read to be shown. `validation_lost` counts these others.
WITH doubtful AS (
    SELECT file, row_no, state, has_sibling,
           state IN ('missing', 'differs') AND EXISTS (SELECT FROM rejects r WHERE r.unique_id = m.unique_id) AS may_be_known
      FROM validation_match m WHERE state IN ('missing', 'differs', 'unmarked', 'misfiled')
)
SELECT file, row_no, state, has_sibling, may_be_known FROM doubtful WHERE may_be_known
UNION ALL
(SELECT file, row_no, state, has_sibling, may_be_known FROM doubtful WHERE NOT may_be_known
  ORDER BY file, row_no LIMIT %(most)s)
