-- Which of the rows that stay published without being in news are to go: those whose rejects are all replayed or
-- discarded; those without a known reject whose id is in news by now. Told by their number in the list given.
SELECT g.number
  FROM unnest(%(ids)s::text[], %(digests)s::text[]) WITH ORDINALITY AS g (unique_id, payload_digest, number)
 CROSS JOIN LATERAL (
       SELECT count(*) AS known, count(*) FILTER (WHERE r.status = 'open') AS open
         FROM rejects r
        WHERE (r.payload_digest = g.payload_digest OR r.unique_id = g.unique_id) AND r.reason <> 'superseded') AS r
 WHERE CASE WHEN r.known > 0 THEN r.open = 0
            ELSE EXISTS (SELECT FROM news n WHERE n.unique_id = g.unique_id) END
 ORDER BY g.number
