"""Enrichment: the theme and the summary of articles, from whichever service or method is chosen."""
