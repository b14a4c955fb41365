-- Rows whose theme ids are not those of their published cells, where no cell shows the id: with form 'codes' every id
-- shows, with form 'text' only that of the first level, and cells kept beside hide all. An id that is null there may be
-- of a theme that the tree did not know yet.
CREATE TEMPORARY TABLE validation_misfiled ON COMMIT DROP AS
SELECT n.unique_id, told.name AS column_name, told.expected, told.found
  FROM news n
  LEFT JOIN themes t1 ON t1.id = n.theme_l1_id
  LEFT JOIN themes t2 ON t2.id = n.theme_l2_id
  LEFT JOIN themes t3 ON t3.id = n.theme_l3_id
  LEFT JOIN themes most ON most.id = n.most_specific_theme_id
  LEFT JOIN themes given ON given.code = n.theme_cells ->> 'most_specific_theme_code'
 CROSS JOIN LATERAL (VALUES
        ('theme_l1_id', t1.code, CASE WHEN n.theme_cells IS NULL THEN t1.code ELSE
             coalesce(n.theme_cells ->> 'theme_1_level_1_code', substring(n.theme_cells ->> 'theme_1_level_1' FROM '^(\d\d) - ')) END),
        ('theme_l2_id', t2.code, n.theme_cells ->> 'theme_1_level_2_code'),
        ('theme_l3_id', t3.code, n.theme_cells ->> 'theme_1_level_3_code'),
        ('most_specific_theme_id', most.code, coalesce(given.code, t3.code, t2.code, t1.code))
      ) AS told (name, found, expected)
 WHERE (n.theme_cells IS NOT NULL
        OR n.theme_form IS DISTINCT FROM 'codes'
           AND (n.theme_l2_id IS NOT NULL OR n.theme_l3_id IS NOT NULL
                OR n.most_specific_theme_id IS DISTINCT FROM n.theme_l1_id))
   AND told.found IS DISTINCT FROM told.expected
   AND (n.theme_cells IS NULL OR told.found IS NOT NULL)
