CREATE UNLOGGED TABLE /*work*/ (
    file           text NOT NULL,
    row_no         bigint NOT NULL,
    unique_id      text,
    digest         uuid NOT NULL,
    extracted_at   timestamptz,
    kinds          text,           -- cleanings that changed the row
    reject_reason  text,
    payload_digest text,           -- of rejected rows
    nulls          integer NOT NULL  -- a bit for each column, in their order
)
