-- The change feed: every published change of a row carries the id of its transaction, deletions leave a tombstone.

CREATE FUNCTION news_mark_change() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER news_mark_change BEFORE UPDATE ON news
    FOR EACH ROW EXECUTE FUNCTION news_mark_change();

-- After the statement: one that renames a primary and its doubles would find a double changed under its hands.
CREATE FUNCTION news_follow_primary() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE news SET duplicate_of = NEW.unique_id WHERE duplicate_of = OLD.unique_id;
    RETURN NULL;
END $$;

CREATE TRIGGER news_follow_primary AFTER UPDATE OF unique_id ON news
    FOR EACH ROW WHEN (NEW.unique_id <> OLD.unique_id) EXECUTE FUNCTION news_follow_primary();

CREATE FUNCTION news_bury() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    heir text;
BEGIN
    INSERT INTO news_tombstones (unique_id, agency_key, url, published_month, reason)
    VALUES (OLD.unique_id, OLD.agency_key, OLD.url, date_trunc('month', OLD.published_date), 'deleted');
    -- A double whose article has a primary of its own by now (the address of this one was changed) goes to that one.
    UPDATE news d SET duplicate_of = p.unique_id FROM news p
     WHERE d.duplicate_of = OLD.unique_id AND p.duplicate_of IS NULL
       AND p.agency_key = d.agency_key AND p.canonical_url = d.canonical_url;
    -- If the primary goes, the next of its article is promoted.
    SELECT unique_id INTO heir FROM news WHERE duplicate_of = OLD.unique_id
     ORDER BY extracted_at NULLS LAST, unique_id COLLATE "C" LIMIT 1;
    IF heir IS NOT NULL THEN
        UPDATE news SET duplicate_of = NULL WHERE unique_id = heir;
        UPDATE news SET duplicate_of = heir WHERE duplicate_of = OLD.unique_id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER news_bury AFTER DELETE ON news
    FOR EACH ROW EXECUTE FUNCTION news_bury();

CREATE FUNCTION news_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'news cannot be truncated: readers of the change feed would not see the rows go'
        USING HINT = 'delete the rows instead; each then leaves a tombstone';
END $$;

CREATE TRIGGER news_refuse_truncate BEFORE TRUNCATE ON news
    FOR EACH STATEMENT EXECUTE FUNCTION news_refuse_truncate();

-- A renamed theme changes what every row of that theme publishes.
CREATE FUNCTION themes_touch_news() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE news SET change_xid = pg_current_xact_id()
     WHERE NEW.id IN (theme_l1_id, theme_l2_id, theme_l3_id, most_specific_theme_id);
    RETURN NULL;
END $$;

CREATE TRIGGER themes_touch_news AFTER UPDATE OF code, label, full_name ON themes
    FOR EACH ROW WHEN (OLD.full_name IS DISTINCT FROM NEW.full_name)
    EXECUTE FUNCTION themes_touch_news();
