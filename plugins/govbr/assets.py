"""Assets: what DAGs tell each other about the stores. Names are for people, addresses for the metadata database."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

__all__ = [
    "HUGGINGFACE_NEWS",
    "HUGGINGFACE_NEWS_PUBLISHED",
    "NEWS_INDEXED",
    "POSTGRES_NEWS",
    "QDRANT_NEWS",
    "TYPESENSE_NEWS",
]

#: The open dataset on the Hub, main and reduced. Which one it is stands in an event's extra: a DAG file reads no
#: settings, and the address of an asset must be known when it is parsed. With a scheme that begins with x- Airflow does
#: not ask every provider whether it knows better, which takes two seconds.
HUGGINGFACE_NEWS = Asset(name="huggingface_news", uri="x-govbr://news/huggingface", group="news")

#: News in PostgreSQL. An event's extra has the run date and the counts of the write.
POSTGRES_NEWS = Asset(name="postgres_news", uri="x-govbr://news/postgres", group="news")

#: News in the search indexes, as searches see them. An event's extra has the collection and the counts of the run.
TYPESENSE_NEWS = Asset(name="typesense_news", uri="x-govbr://news/typesense", group="news")
QDRANT_NEWS = Asset(name="qdrant_news", uri="x-govbr://news/qdrant", group="news")

#: What tasks declare that may leave the asset alone, as a dry run must: an asset among a task's outlets gets an event
#: whenever the task succeeds, an alias only if the task adds one.
HUGGINGFACE_NEWS_PUBLISHED = AssetAlias(name="huggingface_news_published", group="news")
NEWS_INDEXED = AssetAlias(name="news_indexed", group="news")
