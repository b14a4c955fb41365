-- Keys of every admitted row of a source, for one planning; temporary, so that a kill leaves nothing behind.
CREATE TEMPORARY TABLE load_keys (
    segment_no     integer NOT NULL,
    file           text NOT NULL,
    row_no         bigint NOT NULL,
    unique_id      text NOT NULL,
    agency_key     text NOT NULL,
    canonical_url  text,
    published_at   timestamptz NOT NULL,
    extracted_at   timestamptz,
    published_date date GENERATED ALWAYS AS ((published_at AT TIME ZONE 'America/Sao_Paulo')::date) STORED
) ON COMMIT DROP
