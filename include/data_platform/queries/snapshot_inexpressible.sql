-- Rows that the published types cannot hold: years of other than four digits, nanoseconds beyond 64 bits.
SELECT unique_id,
       CASE WHEN NOT isfinite(published_at) OR published_date NOT BETWEEN '0001-01-02' AND '9999-12-30'
            THEN 'published_at is ' || published_at
            WHEN NOT isfinite(updated_datetime) OR updated_datetime NOT BETWEEN '0001-01-02' AND '9999-12-30'
            THEN 'updated_datetime is ' || updated_datetime
            ELSE 'extracted_at is ' || extracted_at END AS problem
  FROM news
 WHERE NOT isfinite(published_at) OR published_date NOT BETWEEN '0001-01-02' AND '9999-12-30'
    OR NOT isfinite(updated_datetime) OR updated_datetime NOT BETWEEN '0001-01-02' AND '9999-12-30'
    OR NOT isfinite(extracted_at)
    OR extracted_at NOT BETWEEN '1677-09-21 00:12:43.145225+00' AND '2262-04-11 23:47:16.854775+00'
 ORDER BY unique_id COLLATE "C"
 LIMIT %(most)s
