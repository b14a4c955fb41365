-- How many rows a month has, and nulls of each column of the dataset.
SELECT count(*)/*counts*/
  FROM news_published p
 WHERE p.published_at >= %(from)s AND p.published_at < %(until)s
   AND to_char(p.published_at AT TIME ZONE 'America/Sao_Paulo', 'YYYY-MM') = %(month)s
