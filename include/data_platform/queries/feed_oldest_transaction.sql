-- Transactions that may have written, of every database of the server: the horizon is one for all. A start that our user
-- may not see (pg_monitor may) is null.
SELECT pid, application_name, state, now_at - started_at AS age
  FROM (SELECT pid, application_name, state, xact_start AS started_at, clock_timestamp() AS now_at
          FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
        UNION ALL
        SELECT NULL, gid, 'prepared', prepared, clock_timestamp() FROM pg_prepared_xacts) AS writers
 ORDER BY started_at NULLS LAST
 LIMIT 1
