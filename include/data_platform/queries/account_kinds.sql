UPDATE load_duplicates lost
   SET kind = CASE WHEN lost.content_digest = won.content_digest THEN 'same_content' ELSE 'other_content' END
  FROM load_duplicates won
 WHERE lost.run_id = %(run)s AND won.run_id = %(run)s AND won.unique_id = lost.unique_id
   AND won.is_winner AND NOT lost.is_winner AND lost.kind IS NULL
