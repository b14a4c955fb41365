DO $$
BEGIN
    IF to_regrole('govbrnews_reader') IS NULL THEN
        RETURN;
    END IF;
    REVOKE SELECT ON news_published, agencies, themes FROM govbrnews_reader;
    REVOKE USAGE ON SCHEMA public FROM govbrnews_reader;
    -- One that somebody else made stays.
    IF position('made by its schema' IN shobj_description(to_regrole('govbrnews_reader'), 'pg_authid')) > 0 THEN
        BEGIN
            DROP ROLE govbrnews_reader;
        EXCEPTION
            WHEN dependent_objects_still_exist THEN NULL;  -- it has rights in another database of this server
            WHEN insufficient_privilege THEN NULL;
        END;
    END IF;
END $$;
