"""DestaquesGovBr's data platform: news from a HuggingFace dataset to PostgreSQL and back, proven row by row."""

__version__ = "0.1.0"
