-- Rows of the segment that are not there yet. /*columns*/ are those of COPY.
WITH added AS (
    INSERT INTO news (/*columns*/)
    SELECT /*values*/ FROM merge_rows r JOIN merge_keys k USING (unique_id) WHERE k.state = 'new'
    RETURNING unique_id
)
UPDATE merge_keys k SET state = 'loaded' FROM added WHERE added.unique_id = k.unique_id
