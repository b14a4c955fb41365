-- What the daily sync asks: whether a row that is published without being in news has a reject.
CREATE INDEX rejects_unique_id_idx ON rejects (unique_id);

-- Two rows of one article deleted at once: the second waits, and never makes the first its heir.
CREATE OR REPLACE FUNCTION news_bury() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    heir text;
BEGIN
    INSERT INTO news_tombstones (unique_id, agency_key, url, published_month, reason)
    VALUES (OLD.unique_id, OLD.agency_key, OLD.url, date_trunc('month', OLD.published_date), 'deleted');
    -- A double whose article has a primary of its own by now (the address of this one was changed) goes to that one.
    UPDATE news d SET duplicate_of = p.unique_id FROM news p
     WHERE d.duplicate_of = OLD.unique_id AND p.duplicate_of IS NULL
       AND p.agency_key = d.agency_key AND p.canonical_url = d.canonical_url;
    -- If the primary goes, the next of its article is promoted. It is held, for it may be on its way out too.
    SELECT unique_id INTO heir FROM news WHERE duplicate_of = OLD.unique_id
     ORDER BY extracted_at NULLS LAST, unique_id COLLATE "C" LIMIT 1 FOR NO KEY UPDATE;
    IF heir IS NOT NULL THEN
        UPDATE news SET duplicate_of = NULL WHERE unique_id = heir;
        UPDATE news SET duplicate_of = heir WHERE duplicate_of = OLD.unique_id;
    END IF;
    RETURN NULL;
END $$;
