"""PostgreSQL: connections, bytes in and out, the table of news, the change feed."""
