-- What tells the rows of each São Paulo month from what they were: how many there are, and which change each has last
-- seen. Contents are not read.
SELECT to_char(published_date, 'YYYY-MM') AS month, count(*) AS month_rows,
       sum(hashtextextended(unique_id || ' ' || change_xid::text, 0))::text AS print
  FROM news GROUP BY 1 ORDER BY 1
