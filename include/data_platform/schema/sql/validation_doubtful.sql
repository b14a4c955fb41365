SELECT file, row_no, state, has_sibling FROM validation_match WHERE state IN ('missing', 'unmarked') OR state = 'differs' AND has_sibling
UNION ALL
(SELECT file, row_no, state, has_sibling FROM validation_match
  WHERE state = 'differs' AND NOT has_sibling ORDER BY file, row_no LIMIT %(most)s)
