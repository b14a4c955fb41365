-- What became of each source row. Of several rows with one id, one may match; the others are its siblings.
CREATE TEMPORARY TABLE validation_match ON COMMIT DROP AS
SELECT file, row_no, unique_id, kinds, reject_reason, payload_digest, levels, has_sibling,
       CASE WHEN reject_reason IS NOT NULL THEN 'rejected'
            WHEN target_id IS NULL THEN 'missing'
            WHEN NOT matches THEN 'differs'
            WHEN place > 1 THEN 'repeated'
            WHEN kinds LIKE '%UNMARKED:%' THEN 'unmarked'
            WHEN kinds IS NOT NULL THEN 'explained'
            ELSE 'equal' END AS state
  FROM (SELECT s.file, s.row_no, s.unique_id, s.payload_digest, s.reject_reason, s.levels, t.unique_id AS target_id,
               t.digest = s.digest AS matches,
               -- extracted_at by itself is no difference (DESIGN §2.3), but it is told
               CASE WHEN t.extracted_at IS DISTINCT FROM s.extracted_at AND t.digest = s.digest
                    THEN concat_ws(',', s.kinds, 'by_itself:extracted_at') ELSE s.kinds END AS kinds,
               count(*) OVER (PARTITION BY s.unique_id, s.reject_reason IS NULL) > 1 AS has_sibling,
               row_number() OVER (PARTITION BY s.unique_id, s.reject_reason IS NULL
                                  ORDER BY t.digest = s.digest DESC NULLS LAST,
                                           t.extracted_at IS NOT DISTINCT FROM s.extracted_at DESC,
                                           s.file COLLATE "C" DESC, s.row_no DESC) AS place
          FROM /*work*/ s LEFT JOIN validation_target t ON t.unique_id = s.unique_id) j
