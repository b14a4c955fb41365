-- Which of some ids stand in one of some São Paulo months.
SELECT n.unique_id
  FROM unnest(%(ids)s::text[]) AS g (unique_id)
  JOIN news n ON n.unique_id = g.unique_id
 WHERE to_char(n.published_date, 'YYYY-MM') = ANY (%(months)s::text[])
