"""The fourth act of the demo: both search indexes are filled from PostgreSQL, follow a correction, and are searched."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from dev.airflow_local import AirflowLocal
from dev.state import LocalStackError

__all__ = ["REINDEX_DAG_ID", "play_search"]

REINDEX_DAG_ID = "reindex_consumers"
_FILL = {"kind": "full", "dry_run": "no"}
_FOLLOW = {"kind": "incremental"}
_NEW_TITLE = "Jabuticaba recebe selo de origem"
_SHOWN = 3
Say = Callable[[str], None]


def play_search(airflow: AirflowLocal, environment: Mapping[str, str], say: Say) -> bool:
    """Fill both indexes, correct an article, let the indexes follow, search; whether both found it at once.

    Args:
        airflow: a running one.
        environment: what the stack runs with (DATABASE_URL, TYPESENSE_…, QDRANT_…).
        say: told what goes on, a line at a time.
    """
    say("search follows PostgreSQL: new collections are filled and compared before the alias shows them")
    if not _reindexed(airflow, _FILL, say):
        return False
    uid = _correct_one(environment["DATABASE_URL"])
    say(f"one article gets another title: {_NEW_TITLE!r}")
    if not _reindexed(airflow, _FOLLOW, say):
        return False
    by_words, by_meaning = _typesense(environment), _qdrant(environment)
    for service, found in (("Typesense", by_words), ("Qdrant", by_meaning)):
        say(f"  {service}, searched for 'jabuticaba': {', '.join(title for _, title in found) or 'NOTHING'}")
    right = bool(by_words and by_meaning) and by_words[0][0] == by_meaning[0][0] == uid
    say(f"  the article that was corrected {'comes first in both' if right else 'IS NOT THE FIRST IN BOTH'}")
    return right


def _reindexed(airflow: AirflowLocal, form: Mapping[str, Any], say: Say) -> bool:
    """Run the DAG for both readers and say what each did."""
    outcome = airflow.run(REINDEX_DAG_ID, form)
    if not outcome.succeeded:
        return False
    for number in (0, 1):
        told = airflow.client.xcom(REINDEX_DAG_ID, outcome.run_id, "reindex", map_index=number)
        if not isinstance(told, Mapping) or "counts" not in told:
            raise LocalStackError(f"task reindex of {REINDEX_DAG_ID} handed over {told!r}")
        counts, compared = told["counts"], told["compared"]
        say(
            f"  {told['reader']}: {counts['rows']:,} rows read, {counts['written']:,} written,"
            f" {counts['deleted']} deleted; {told['collection']} has {counts['documents']:,}"
        )
        if compared:
            say(f"    compared before it was shown: {', '.join(f'{n:,} {what}' for what, n in compared.items())}")
    return True


def _correct_one(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "UPDATE news SET title = %s WHERE unique_id ="
            " (SELECT unique_id FROM news WHERE duplicate_of IS NULL ORDER BY published_at, unique_id LIMIT 1)"
            " RETURNING unique_id",
            (_NEW_TITLE,),
        ).fetchone()
    if row is None:
        raise LocalStackError("there is no article to correct")
    return str(row[0])


def _typesense(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Search by words, as the portal does; return id and title of what is found."""
    import typesense

    node: Any = {name: environment[f"TYPESENSE_{name.upper()}"] for name in ("host", "port", "protocol")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of endpoints that are not used here
        client = typesense.Client({"nodes": [node], "api_key": environment["TYPESENSE_API_KEY"]})
        asked: Any = {
            "q": "jabuticaba",
            "query_by": "title,content",
            "sort_by": "published_at:desc",
            "per_page": _SHOWN,
        }
        found: Any = client.collections["news"].documents.search(asked)
    return [(hit["document"]["unique_id"], hit["document"]["title"]) for hit in found["hits"]]


def _qdrant(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Search by meaning, as far as hashed words have any; return id and title of what is nearest."""
    from qdrant_client import QdrantClient

    from data_platform.managers.embeddings.hashing import HashingEmbedder

    (vector,) = HashingEmbedder().embed([_NEW_TITLE]).vectors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a key without TLS: it stays on this machine
        client = QdrantClient(
            url=environment["QDRANT_URL"], api_key=environment["QDRANT_API_KEY"], check_compatibility=False
        )
    try:
        points = client.query_points("news", query=vector.tolist(), limit=_SHOWN).points
    finally:
        client.close()
    payloads = [point.payload or {} for point in points]
    return [(str(payload["unique_id"]), str(payload["title"])) for payload in payloads]
