-- Rows of the source that are (or should be) in the table: how many, and in how many each column is null.
SELECT count(*)/*counts*/
  FROM validation_match WHERE state IN ('equal', 'explained', 'unmarked', 'misfiled', 'missing') OR state = 'differs' AND NOT has_sibling
