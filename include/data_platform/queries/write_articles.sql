-- Articles with several rows, one of which was written: their order may be another now.
SELECT DISTINCT n.agency_key, n.canonical_url
  FROM news n
 WHERE n.unique_id = ANY (%(ids)s) AND n.canonical_url IS NOT NULL
   AND (n.duplicate_of IS NOT NULL OR EXISTS (SELECT FROM news d WHERE d.duplicate_of = n.unique_id))
