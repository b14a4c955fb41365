"""The index of semantic search: news as points in Qdrant."""
