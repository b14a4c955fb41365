-- Which enricher wrote the theme and the summary of a row. Outside news, so that a record wakes no reader of the feed;
-- without a foreign key, since a record of a row that is gone does no harm and a delete must not wait for it.
CREATE TABLE news_enrichment (
    unique_id           text PRIMARY KEY,
    enricher            text NOT NULL CHECK (enricher <> ''),  -- the last one that wrote any part
    version             text NOT NULL,
    theme_approximate   boolean,  -- null: no enricher of ours wrote the theme
    summary_approximate boolean,
    approximate         boolean NOT NULL GENERATED ALWAYS AS
                        (coalesce(theme_approximate, false) OR coalesce(summary_approximate, false)) STORED,
    run_date            date,     -- the São Paulo day that the run was for; null if for none
    enriched_at         timestamptz NOT NULL
);
-- What a real enricher may still replace.
CREATE INDEX news_enrichment_approximate_idx ON news_enrichment (unique_id) WHERE approximate;
