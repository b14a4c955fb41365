-- Rows that were changed here since and that the rules in merge.py leave as they are: not even locked.
-- /*values*/ are what the rules make of the columns in /*columns*/.
UPDATE merge_keys k SET state = 'kept'
  FROM merge_rows r JOIN news n USING (unique_id)
 WHERE k.unique_id = r.unique_id AND k.state = 'mixed'
   AND ROW (/*values*/) IS NOT DISTINCT FROM ROW (/*columns*/)
