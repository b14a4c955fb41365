-- Back to the first trigger, word for word.
DROP TABLE hf_sync_marks;

ALTER TABLE consumer_positions
    DROP CONSTRAINT consumer_positions_resync_check,
    DROP COLUMN position_unique_id, DROP COLUMN timeline, DROP COLUMN announced_stamp, DROP COLUMN resync_reason,
    DROP COLUMN resync_horizon, DROP COLUMN window_no;

CREATE OR REPLACE FUNCTION news_mark_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- agency_name and canonical_url are not published: a change of theirs wakes no reader.
    -- extracted_at moves only together with another scraper column; by itself it is no difference (DESIGN §2.3).
    IF ROW (NEW.unique_id, NEW.agency_key, NEW.published_at, NEW.updated_datetime, NEW.title, NEW.subtitle,
            NEW.editorial_lead, NEW.url, NEW.content, NEW.image_url, NEW.video_url, NEW.category, NEW.tags)
       IS NOT DISTINCT FROM
       ROW (OLD.unique_id, OLD.agency_key, OLD.published_at, OLD.updated_datetime, OLD.title, OLD.subtitle,
            OLD.editorial_lead, OLD.url, OLD.content, OLD.image_url, OLD.video_url, OLD.category, OLD.tags)
    THEN
        NEW.extracted_at := OLD.extracted_at;
        IF ROW (NEW.theme_l1_id, NEW.theme_l2_id, NEW.theme_l3_id, NEW.most_specific_theme_id, NEW.theme_form,
                NEW.theme_cells, NEW.summary, NEW.duplicate_of)
           IS NOT DISTINCT FROM
           ROW (OLD.theme_l1_id, OLD.theme_l2_id, OLD.theme_l3_id, OLD.most_specific_theme_id, OLD.theme_form,
                OLD.theme_cells, OLD.summary, OLD.duplicate_of)
           AND NEW.change_xid = OLD.change_xid
        THEN
            NEW.updated_at := OLD.updated_at;
            IF ROW (NEW.id, NEW.agency_id, NEW.agency_name, NEW.canonical_url, NEW.created_at)
               IS NOT DISTINCT FROM
               ROW (OLD.id, OLD.agency_id, OLD.agency_name, OLD.canonical_url, OLD.created_at)
            THEN
                RETURN NULL;  -- nothing differs: the row is not touched and not counted
            END IF;
            RETURN NEW;
        END IF;
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
END $$;
