SELECT unique_id, count(*) OVER () FROM validation_target t
 WHERE NOT EXISTS (SELECT FROM /*work*/ s WHERE s.unique_id = t.unique_id) ORDER BY unique_id LIMIT 20
