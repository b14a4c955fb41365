-- How many rows each São Paulo month has.
SELECT to_char(day, 'YYYY-MM') AS month, sum(day_rows)::bigint AS month_rows
  FROM (SELECT published_date AS day, count(*) AS day_rows FROM news GROUP BY 1) AS days
 GROUP BY 1 ORDER BY 1
