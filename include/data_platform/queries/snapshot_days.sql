-- How many rows of a month each São Paulo day and agency has.
SELECT published_date, agency_key, count(*)
  FROM news
 WHERE published_date >= %(first)s AND published_date <= %(last)s
 GROUP BY 1, 2
