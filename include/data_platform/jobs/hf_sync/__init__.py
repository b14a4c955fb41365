"""The daily sync from PostgreSQL to the open dataset on the Hub."""
