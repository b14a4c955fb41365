-- Rows that are there already; the trigger of news leaves alone what comes out as it was, and RETURNING does not tell it.
UPDATE news n SET /*assignments*/
  FROM incoming i /*moving*/
 WHERE n.unique_id = i.unique_id AND NOT /*stale*/
RETURNING n.unique_id
