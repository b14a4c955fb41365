-- Which server this is and where it stands. Every transaction below the horizon is finished, and what it did is seen by
-- every later snapshot. The timeline is that of the log being written: pg_control_checkpoint() is late after a promotion.
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer END AS timeline,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon
