-- Whether a row n of news was last written by a migration, and holds what its source gave. Part of other statements.
(n.change_xid IN (SELECT change_xid FROM load_segments WHERE change_xid IS NOT NULL
                  UNION ALL SELECT unnest(settled_xids) FROM load_runs)
 AND NOT EXISTS (SELECT FROM load_mixed m WHERE m.change_xid = n.change_xid AND m.unique_id = n.unique_id))
