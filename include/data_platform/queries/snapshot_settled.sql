-- Which of the rows that stand in the undated file without a reason wait for the next sync, having lost it since a
-- transaction: a reject of theirs is not open any more, or their article is in news. A reject's version tells by its
-- xmin, the lower half of the id of the transaction that wrote it; ids are compared as PostgreSQL compares such halves.
SELECT g.number
  FROM unnest(%(ids)s::text[], %(digests)s::text[]) WITH ORDINALITY AS g (unique_id, payload_digest, number)
 WHERE EXISTS (SELECT FROM rejects r
                WHERE (r.payload_digest = g.payload_digest OR r.unique_id = g.unique_id)
                  AND r.status <> 'open' AND r.reason <> 'superseded'
                  AND ((r.xmin::text::bigint - %(xid)s::bigint) & 4294967295) < 2147483648)
    OR EXISTS (SELECT FROM news n
                WHERE n.unique_id = g.unique_id AND n.change_xid >= %(xid)s::text::xid8
                  AND n.change_xid < pg_snapshot_xmax(pg_current_snapshot()))
 ORDER BY g.number
