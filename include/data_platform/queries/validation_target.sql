CREATE TEMPORARY TABLE validation_target AS
SELECT p.unique_id, p.extracted_at AT TIME ZONE 'UTC' AS extracted_at, /*digest*/ AS digest FROM news_published p
