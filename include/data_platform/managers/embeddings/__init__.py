"""Embeddings of news: what is embedded, by whom, and where vectors that are approximate may go."""
