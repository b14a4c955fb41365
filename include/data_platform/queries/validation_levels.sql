-- How many rows of the source that are (or should be) in the table carry each theme level.
SELECT count(*) FILTER (WHERE levels & 1 > 0), count(*) FILTER (WHERE levels & 2 > 0), count(*) FILTER (WHERE levels & 4 > 0)
  FROM validation_match WHERE state IN ('equal', 'explained', 'unmarked', 'missing') OR state = 'differs' AND NOT has_sibling
