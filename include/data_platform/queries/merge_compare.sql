-- How each row of the segment stands to the row of news with its id.
UPDATE merge_keys k
   SET state = CASE WHEN t.digest = k.digest THEN 'same' WHEN t.is_ours THEN 'follow' ELSE 'mixed' END,
       scraper_newer = coalesce(k.extracted_at >= t.extracted_at, t.extracted_at IS NULL)
  FROM (SELECT p.unique_id,
               /*digest*/ AS digest,
               n.extracted_at,
               /*ours*/ AS is_ours
          FROM news_published p JOIN news n ON n.unique_id = p.unique_id
         WHERE p.unique_id IN (SELECT unique_id FROM merge_keys)) t
 WHERE t.unique_id = k.unique_id
