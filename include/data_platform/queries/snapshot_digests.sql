SELECT p.unique_id, translate((/*digest*/)::text, '-', '') AS row_digest
  FROM news_published p WHERE p.unique_id = ANY (%(ids)s::text[])
