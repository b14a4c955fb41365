-- Rows that have not changed since a horizon.
SELECT unique_id FROM news WHERE change_xid < %(horizon)s::xid8
