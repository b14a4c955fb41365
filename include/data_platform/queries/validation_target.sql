CREATE TEMPORARY TABLE validation_target ON COMMIT DROP AS
SELECT p.unique_id, p.extracted_at AT TIME ZONE 'UTC' AS extracted_at, /*digest*/ AS digest FROM news_published p
