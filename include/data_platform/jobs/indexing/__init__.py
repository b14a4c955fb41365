"""The readers' indexes follow PostgreSQL: search in Typesense, semantic search in Qdrant."""
