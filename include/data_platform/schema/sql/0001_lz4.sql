DO $$
BEGIN
    IF 'lz4' = ANY (SELECT unnest(enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        ALTER TABLE news ALTER COLUMN content SET COMPRESSION lz4;
        ALTER TABLE news ALTER COLUMN summary SET COMPRESSION lz4;
        ALTER TABLE rejects ALTER COLUMN payload SET COMPRESSION lz4;
    END IF;
END $$;
