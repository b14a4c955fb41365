-- Rows that share a unique_id: the latest extracted_at wins; if that does not decide, the later place in the source.
WITH shared AS (
    SELECT unique_id FROM load_keys GROUP BY unique_id HAVING count(*) > 1
), ranked AS (
    SELECT k.*, row_number() OVER (PARTITION BY unique_id
                                   ORDER BY extracted_at DESC NULLS LAST, file COLLATE "C" DESC, row_no DESC) AS place
      FROM load_keys k JOIN shared USING (unique_id)
), kept AS (
    INSERT INTO load_duplicates (run_id, segment_no, file, row_no, unique_id, is_winner)
    SELECT %(run)s, segment_no, file, row_no, unique_id, place = 1 FROM ranked
    RETURNING file, row_no, is_winner
)
DELETE FROM load_keys k USING kept WHERE NOT kept.is_winner AND k.file = kept.file AND k.row_no = kept.row_no
