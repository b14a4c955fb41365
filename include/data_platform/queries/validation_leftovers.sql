SELECT relname FROM pg_class
 WHERE relkind = 'r' AND relname ~ '^validation_work_\d+$' AND relnamespace = current_schema()::regnamespace
   AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = substring(relname FROM '\d+$')::int)
