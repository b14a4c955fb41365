-- What became of each source row. Of several rows with one id, one may match; the others are its siblings. Nearly all
-- rows are alone with their id, and only the few that are not are worth sorting.
CREATE TEMPORARY TABLE validation_match ON COMMIT DROP AS
WITH shared AS MATERIALIZED (
    SELECT unique_id FROM /*work*/ WHERE reject_reason IS NULL GROUP BY unique_id HAVING count(*) > 1
), joined AS (
    SELECT s.file, s.row_no, s.unique_id, s.payload_digest, s.reject_reason, s.nulls, t.unique_id AS target_id,
           t.digest = s.digest AS matches,
           -- extracted_at by itself is no difference (DESIGN §2.3), but it is told
           CASE WHEN t.extracted_at IS DISTINCT FROM s.extracted_at AND t.digest = s.digest
                THEN concat_ws(',', s.kinds, 'by_itself:extracted_at') ELSE s.kinds END AS kinds,
           t.extracted_at IS NOT DISTINCT FROM s.extracted_at AS same_extraction,
           s.reject_reason IS NULL AND s.unique_id IN (SELECT unique_id FROM shared) AS has_sibling
      FROM /*work*/ s LEFT JOIN validation_target t ON t.unique_id = s.unique_id
), placed AS (
    SELECT *, 1 AS place FROM joined WHERE NOT has_sibling
    UNION ALL
    SELECT *, row_number() OVER (PARTITION BY unique_id
                                 ORDER BY matches DESC NULLS LAST, same_extraction DESC, file COLLATE "C" DESC, row_no DESC)
      FROM joined WHERE has_sibling
)
SELECT file, row_no, unique_id, kinds, reject_reason, payload_digest, nulls, has_sibling,
       CASE WHEN reject_reason IS NOT NULL THEN 'rejected'
            WHEN target_id IS NULL THEN 'missing'
            WHEN NOT matches THEN 'differs'
            WHEN place > 1 THEN 'repeated'
            WHEN kinds LIKE '%UNMARKED:%' THEN 'unmarked'
            WHEN kinds IS NOT NULL THEN 'explained'
            ELSE 'equal' END AS state
  FROM placed
