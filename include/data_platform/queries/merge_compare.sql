-- How each row of the segment stands to the row of news with its id. A row whose cells are kept beside because the tree
-- lacked a code is stored anew once the tree has it, though nothing that is published differs.
UPDATE merge_keys k
   SET state = CASE WHEN t.digest = k.digest AND NOT t.can_be_filed THEN 'same'
                    WHEN t.is_ours THEN 'follow' ELSE 'mixed' END,
       scraper_newer = coalesce(k.extracted_at >= t.extracted_at, t.extracted_at IS NULL)
  FROM (SELECT p.unique_id,
               /*digest*/ AS digest,
               n.extracted_at,
               /*ours*/ AS is_ours,
               n.theme_cells IS NOT NULL AND EXISTS (
                   SELECT FROM themes h
                    WHERE h.code = n.theme_cells ->> 'theme_1_level_3_code' AND n.theme_l3_id IS NULL
                       OR h.code = n.theme_cells ->> 'theme_1_level_2_code' AND n.theme_l2_id IS NULL
                       OR h.code = coalesce(n.theme_cells ->> 'theme_1_level_1_code',
                                            substring(n.theme_cells ->> 'theme_1_level_1' FROM '^(\d\d) - '))
                          AND n.theme_l1_id IS NULL) AS can_be_filed
          FROM news_published p JOIN news n ON n.unique_id = p.unique_id
         WHERE p.unique_id IN (SELECT unique_id FROM merge_keys)) t
 WHERE t.unique_id = k.unique_id
