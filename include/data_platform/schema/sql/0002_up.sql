-- The change feed as its readers need it. The outcome of every UPDATE of news is as before; only less is read for it.

CREATE OR REPLACE FUNCTION news_mark_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- A re-scrape that shows in the short columns.
    scraped boolean :=
        ROW (NEW.unique_id, NEW.agency_key, NEW.published_at, NEW.updated_datetime, NEW.title, NEW.subtitle,
             NEW.editorial_lead, NEW.url, NEW.image_url, NEW.video_url, NEW.category, NEW.tags)
        IS DISTINCT FROM
        ROW (OLD.unique_id, OLD.agency_key, OLD.published_at, OLD.updated_datetime, OLD.title, OLD.subtitle,
             OLD.editorial_lead, OLD.url, OLD.image_url, OLD.video_url, OLD.category, OLD.tags);
BEGIN
    -- Comparing equal contents reads both from TOAST and unpacks them, which costs more than all else. OR stops at the
    -- first difference: an update of themes, or of anything short, never gets to the content.
    -- agency_name and canonical_url are not published: a change of theirs wakes no reader.
    IF scraped
       OR ROW (NEW.theme_l1_id, NEW.theme_l2_id, NEW.theme_l3_id, NEW.most_specific_theme_id, NEW.theme_form,
               NEW.duplicate_of, NEW.change_xid, NEW.theme_cells, NEW.summary)
          IS DISTINCT FROM
          ROW (OLD.theme_l1_id, OLD.theme_l2_id, OLD.theme_l3_id, OLD.most_specific_theme_id, OLD.theme_form,
               OLD.duplicate_of, OLD.change_xid, OLD.theme_cells, OLD.summary)
       OR NEW.content IS DISTINCT FROM OLD.content
    THEN
        -- extracted_at moves only together with another scraper column (DESIGN §2.3): enrichment is no re-scrape.
        IF NEW.extracted_at IS DISTINCT FROM OLD.extracted_at
           AND NOT scraped AND NEW.content IS NOT DISTINCT FROM OLD.content THEN
            NEW.extracted_at := OLD.extracted_at;
        END IF;
        NEW.updated_at := now();
        NEW.change_xid := pg_current_xact_id();
        IF NEW.unique_id <> OLD.unique_id THEN
            INSERT INTO news_tombstones (unique_id, agency_key, url, published_month, reason)
            VALUES (OLD.unique_id, OLD.agency_key, OLD.url, date_trunc('month', OLD.published_date), 'renamed');
        ELSIF date_trunc('month', NEW.published_at AT TIME ZONE 'America/Sao_Paulo')
              <> date_trunc('month', OLD.published_at AT TIME ZONE 'America/Sao_Paulo') THEN
            INSERT INTO news_tombstones (unique_id, agency_key, url, published_month, reason)
            VALUES (OLD.unique_id, OLD.agency_key, OLD.url, date_trunc('month', OLD.published_date), 'moved');
        END IF;
        RETURN NEW;
    END IF;
    -- extracted_at by itself is no difference.
    NEW.extracted_at := OLD.extracted_at;
    NEW.updated_at := OLD.updated_at;
    IF ROW (NEW.id, NEW.agency_id, NEW.agency_name, NEW.canonical_url, NEW.created_at)
       IS NOT DISTINCT FROM
       ROW (OLD.id, OLD.agency_id, OLD.agency_name, OLD.canonical_url, OLD.created_at)
    THEN
        RETURN NULL;  -- nothing differs: the row is not touched and not counted
    END IF;
    RETURN NEW;
END $$;

-- Where a reader stands. Its lineage is (system_identifier, timeline); transaction ids of another mean nothing here.
ALTER TABLE consumer_positions
    ADD COLUMN position_unique_id text NOT NULL DEFAULT '',  -- the last row taken at position_xid; '' for none of it
    ADD COLUMN timeline integer,                             -- null: unknown, so the reader starts over
    ADD COLUMN announced_stamp text,        -- what the reader is about to write outside; outside_stamp: what it has written
    ADD COLUMN resync_reason text,          -- set while a full resync is under way
    ADD COLUMN resync_horizon xid8,         -- where the feed goes on after it: the horizon when it began
    ADD COLUMN window_no bigint NOT NULL DEFAULT 0,          -- the newest window opened; an older one stores nothing any more
    ADD CONSTRAINT consumer_positions_resync_check CHECK ((resync_reason IS NULL) = (resync_horizon IS NULL));

-- What was handed out for the HuggingFace dataset and what is there. Outside news: a mark must not be a change.
CREATE TABLE hf_sync_marks (
    unique_id  text PRIMARY KEY,
    handed_xid xid8 NOT NULL,         -- change_xid of the row as handed out; 0: two versions are out, a mark proves neither
    handed_at  timestamptz NOT NULL DEFAULT now(),
    handed_by  text NOT NULL,         -- the process that took it
    synced_xid xid8,                  -- the row is pending unless its change_xid is this
    synced_at  timestamptz
) WITH (fillfactor = 80);             -- each row is updated twice a sync; room for that beside it keeps the index as it is
