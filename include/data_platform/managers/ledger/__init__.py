"""What ran, outside PostgreSQL: write-once objects, the run ledger over them, rejects of writers without a database."""
