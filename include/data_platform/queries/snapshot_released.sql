-- Which of the rows that stay published without being in news are to go: those whose own rejects (of the very row) are
-- all replayed or discarded; those without one of their own whose id is in news by now, or whose id's rejects are all
-- settled. Told by their number in the list given.
SELECT g.number
  FROM unnest(%(ids)s::text[], %(digests)s::text[]) WITH ORDINALITY AS g (unique_id, payload_digest, number)
 CROSS JOIN LATERAL (
       SELECT count(*) AS known, count(*) FILTER (WHERE r.status = 'open') AS open
         FROM rejects r WHERE r.payload_digest = g.payload_digest AND r.reason <> 'superseded') AS own
 CROSS JOIN LATERAL (
       SELECT count(*) AS known, count(*) FILTER (WHERE r.status = 'open') AS open
         FROM rejects r WHERE r.unique_id = g.unique_id AND r.reason <> 'superseded') AS of_id
 WHERE CASE WHEN own.known > 0 THEN own.open = 0
            WHEN EXISTS (SELECT FROM news n WHERE n.unique_id = g.unique_id) THEN true
            ELSE of_id.known > 0 AND of_id.open = 0 END
 ORDER BY g.number
