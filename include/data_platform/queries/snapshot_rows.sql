-- The rows of a month in the order of its file, each with the digest of its cells. The two instants let an index find
-- them; which month a row is of is said by PostgreSQL's own zone rules, as published_date is.
SELECT p.*, translate((/*digest*/)::text, '-', '') AS row_digest
  FROM news_published p
 WHERE p.published_at >= %(from)s AND p.published_at < %(until)s
   AND to_char(p.published_at AT TIME ZONE 'America/Sao_Paulo', 'YYYY-MM') = %(month)s
 ORDER BY p.published_at, p.unique_id COLLATE "C"
