CREATE TEMPORARY TABLE merge_keys (
    file          text NOT NULL,
    row_no        bigint NOT NULL,
    unique_id     text NOT NULL PRIMARY KEY,
    digest        uuid NOT NULL,
    extracted_at  timestamptz,
    -- new, same, follow (the source leads), mixed (both sides changed), kept (ours stays); then loaded, updated
    state         text NOT NULL DEFAULT 'new',
    scraper_newer boolean NOT NULL DEFAULT false
) ON COMMIT DROP
