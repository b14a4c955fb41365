-- Rows that the published types cannot hold: years of other than four digits, nanoseconds beyond 64 bits, tags that are
-- no plain list of texts. Each with what it is, and of tags what to do.
SELECT unique_id,
       CASE WHEN NOT isfinite(published_at) OR published_date NOT BETWEEN '0001-01-02' AND '9999-12-30'
            THEN 'published_at is ' || published_at
            WHEN NOT isfinite(updated_datetime) OR updated_datetime NOT BETWEEN '0001-01-02' AND '9999-12-30'
            THEN 'updated_datetime is ' || updated_datetime
            WHEN NOT isfinite(extracted_at)
              OR extracted_at NOT BETWEEN '1677-09-21 00:12:43.145225+00' AND '2262-04-11 23:47:16.854775+00'
            THEN 'extracted_at is ' || extracted_at
            WHEN array_ndims(tags) > 1
            THEN 'tags has ' || array_ndims(tags) || ' dimensions; write it as one list'
            ELSE 'tags has NULL among its texts; array_remove(tags, NULL) takes it out' END AS problem
  FROM news
 WHERE NOT isfinite(published_at) OR published_date NOT BETWEEN '0001-01-02' AND '9999-12-30'
    OR NOT isfinite(updated_datetime) OR updated_datetime NOT BETWEEN '0001-01-02' AND '9999-12-30'
    OR NOT isfinite(extracted_at)
    OR extracted_at NOT BETWEEN '1677-09-21 00:12:43.145225+00' AND '2262-04-11 23:47:16.854775+00'
    -- In this order: looking for an element of an array of several dimensions is an error.
    OR CASE WHEN array_ndims(tags) > 1 THEN true ELSE array_position(tags, NULL) IS NOT NULL END
 ORDER BY unique_id COLLATE "C"
 LIMIT %(most)s
