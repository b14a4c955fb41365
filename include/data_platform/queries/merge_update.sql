-- Rows that differ, by the rules in merge.py; the trigger of news leaves alone what comes out as it was.
WITH changed AS (
    UPDATE news n SET /*assignments*/
      FROM merge_rows r JOIN merge_keys k USING (unique_id)
     WHERE n.unique_id = r.unique_id AND k.state IN ('follow', 'mixed')
    RETURNING n.unique_id, n.change_xid, k.state
), mixed AS (
    INSERT INTO load_mixed SELECT change_xid, unique_id FROM changed WHERE state = 'mixed'
)
UPDATE merge_keys k SET state = 'updated' FROM changed WHERE changed.unique_id = k.unique_id
