"""Assets: what DAGs tell each other about the stores. Names are for people, addresses for the metadata database."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

__all__ = ["HUGGINGFACE_NEWS", "HUGGINGFACE_NEWS_PUBLISHED", "POSTGRES_NEWS"]

#: The open dataset on the Hub, main and reduced. Which one it is stands in an event's extra: a DAG file reads no
#: settings, and the address of an asset must be known when it is parsed. With a scheme that begins with x- Airflow does
#: not ask every provider whether it knows better, which takes two seconds.
HUGGINGFACE_NEWS = Asset(name="huggingface_news", uri="x-govbr://news/huggingface", group="news")

#: News in PostgreSQL. An event's extra has the run date and the counts of the write.
POSTGRES_NEWS = Asset(name="postgres_news", uri="x-govbr://news/postgres", group="news")

#: What tasks declare that may leave the asset alone, as a dry run must: an asset among a task's outlets gets an event
#: whenever the task succeeds, an alias only if the task adds one.
HUGGINGFACE_NEWS_PUBLISHED = AssetAlias(name="huggingface_news_published", group="news")
