DROP VIEW news_published;
DROP TABLE validations, rejects, load_duplicates, load_doubles, load_mixed, load_segments, load_runs, scrape_runs, sync_log,
    consumer_positions, news_tombstones, news, themes, agencies;
DROP FUNCTION news_mark_change(), news_follow_primary(), news_bury(), news_refuse_truncate(), themes_touch_news();
