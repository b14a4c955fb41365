-- Who reads by SQL: apps and notebooks, by login roles that are members of this one. The view news_published has the
-- dataset's 24 columns; it reads its tables with the rights of its owner, so that the role needs none on news itself.
-- Roles belong to the server and not to the database: another database of ours may have made it, now or before.
DO $$
BEGIN
    IF to_regrole('govbrnews_reader') IS NULL THEN
        CREATE ROLE govbrnews_reader NOLOGIN;
        COMMENT ON ROLE govbrnews_reader IS 'reads what the DestaquesGovBr data platform publishes; made by its schema';
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;  -- told by the migration, which looks whether it is there
    WHEN duplicate_object OR unique_violation THEN NULL;  -- made by another database at the same moment
END $$;

DO $$
BEGIN
    IF to_regrole('govbrnews_reader') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA public TO govbrnews_reader;
        GRANT SELECT ON news_published, agencies, themes TO govbrnews_reader;
    END IF;
END $$;
