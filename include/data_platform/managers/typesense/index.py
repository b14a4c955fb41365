"""The index of news in Typesense, as the job that keeps any index asks for it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self
from urllib.parse import quote

import pyarrow as pa

from data_platform.errors import StoreError, StoreUnavailableError
from data_platform.managers.hub.session import Backoff
from data_platform.managers.search_index import Card, Failed, Written
from data_platform.managers.typesense.answers import read_answer
from data_platform.managers.typesense.collections import TypesenseCollections
from data_platform.managers.typesense.rules import bring_rules
from data_platform.managers.typesense.session import LaggingError, NotFoundError, TypesenseSession
from data_platform.models.search_document import OWN_FIELDS, documents, imports, pieces
from data_platform.settings import Settings

__all__ = ["TypesenseIndex"]

_LOG = logging.getLogger(__name__)
#: How often documents that were refused for the moment are sent again.
_TRIES = 4
#: Largest import in bytes of Arrow; the JSON is a fifth larger. A server holds all of it in memory.
_MOST_BYTES = 8 * 1024 * 1024
#: Ids of one filter: the longest ones together stay below what the service reads of an address.
_FILTER_CHARACTERS = 3_000
_IDS_OF_A_PIECE = 10_000
_CARRIED_LINES = 500
_NOT_FOUND = 404


class TypesenseIndex:
    """News in Typesense (`Index`).

    Args:
        session: where it is.
        alias: the name that searches use.
        batch_rows: documents of one import.
        concurrency: imports at once.
        replace_collection: whether a collection that has the alias's own name may be dropped for the alias.
    """

    def __init__(
        self,
        session: TypesenseSession,
        alias: str,
        *,
        batch_rows: int = 500,
        concurrency: int = 2,
        replace_collection: bool = False,
    ) -> None:
        self._session = session
        self._of_alias = TypesenseCollections(session, alias, replace=replace_collection)
        self._batch_rows = batch_rows
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="typesense-import")

    @classmethod
    def of(cls, settings: Settings, *, replace_collection: bool = False, **session: Any) -> Self:  # noqa: ANN401 - of the session
        """Return the index of these settings.

        Args:
            settings: `typesense_…`.
            replace_collection: as in the constructor.
            session: how requests are tried again, if not as usual (`TypesenseSession`).

        Raises:
            ConfigurationError: address or key are not set.
        """
        return cls(
            TypesenseSession(settings, **session),
            settings.typesense_collection,
            batch_rows=settings.typesense_batch_size,
            concurrency=settings.typesense_concurrency,
            replace_collection=replace_collection,
        )

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"{self._session}, alias {self.alias}"

    @property
    def reader(self) -> str:
        """Its name: `typesense`."""
        return "typesense"

    @property
    def alias(self) -> str:
        """The name that searches use."""
        return self._of_alias.alias

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._session.close()

    def live(self) -> str | None:
        """Return the collection that searches see; None if there is none."""
        return self._of_alias.live()

    def collections(self) -> Sequence[str]:
        """Return the collections that were made for the alias, oldest first."""
        return self._of_alias.names()

    def create(self, collection: str, card: Card) -> None:
        """Make an empty collection, with the fields that others have added to the live one."""
        self._of_alias.create(collection, card)

    def card(self, collection: str) -> Card | None:
        """Return what a collection says of itself."""
        return self._of_alias.card(collection)

    def set_card(self, collection: str, card: Card) -> None:
        """Change what a collection says of itself."""
        self._of_alias.set_card(collection, card)

    def drift(self, collection: str) -> Sequence[str]:
        """Say in which ways a collection's schema is not what it should be."""
        return self._of_alias.drift(collection)

    def mend(self, collection: str) -> Sequence[str]:
        """Add the fields that are missing and return their names."""
        return self._of_alias.mend(collection)

    def count(self, collection: str) -> int:
        """Return how many documents a collection has."""
        return self._of_alias.count(collection)

    def point(self, collection: str) -> None:
        """Let the alias show a collection, at once."""
        self._of_alias.point(collection)

    def drop(self, collection: str) -> None:
        """Remove a collection and its card; never the one that the alias shows."""
        self._of_alias.drop(collection)

    def write(self, collection: str, rows: pa.RecordBatch) -> Written:
        """Import rows with `emplace`: their fields are as given afterwards, those of others as they were."""
        failed: list[Failed] = []
        left, pause = rows, self._session.backoff
        for number in range(1, _TRIES + 1):
            refused = self._import(collection, left)
            failed += [one for one in refused if not one.is_transient]
            later = {one.unique_id: one for one in refused if one.is_transient}
            if not later:
                break
            if number == _TRIES:
                failed += later.values()
                break
            _sleep(pause, number)
            left = _chosen(left, later)
        return Written(rows.num_rows - len(failed), tuple(failed))

    def _import(self, collection: str, rows: pa.RecordBatch) -> list[Failed]:
        """Import rows, some pieces at a time, and return what was refused."""

        def send(piece: pa.RecordBatch) -> list[Failed]:
            ids = piece.column("unique_id").to_pylist()
            where = f"{self._session}: import into {collection}"

            return self._session.post_lines(
                *_path(collection, "import"),
                lines=imports(piece),
                query={"action": "emplace"},
                read=lambda answer: read_answer(where, answer, ids),
            )

        parts = pieces(rows, most_rows=self._batch_rows, most_bytes=_MOST_BYTES)
        return [one for refused in self._pool.map(send, parts) for one in refused]

    def delete(self, collection: str, unique_ids: Sequence[str]) -> int:
        """Take documents away, if they are there; return how many were, as the service says."""
        gone = 0
        filters, odd = _filters(unique_ids)
        for wanted in filters:
            told = self._session.json("DELETE", *_path(collection), query={"filter_by": wanted})
            gone += int(told["num_deleted"])
        for unique_id in odd:
            try:
                self._session.json("DELETE", *_path(collection), unique_id)
                gone += 1
            except NotFoundError:
                _LOG.debug("%s is gone already", unique_id)
        return gone

    def finish(self, collection: str) -> None:
        """Bring over what others wrote: synonyms, overrides, and fields of documents, such as embeddings.

        Raises:
            StoreError: something of it was refused.
        """
        live = self.live()
        if live is None or live == collection:
            return
        if rules := bring_rules(self._session, live, collection):
            _LOG.info("%s synonyms and overrides brought over to %s", rules, collection)
        names = [field["name"] for field in self._of_alias.fields_of_others(live)]
        if not names:
            return
        query = {"include_fields": ",".join(["id", *names])}

        def carry_all() -> int:
            told = self._session.lines(*_path(live, "export"), query=query)
            parts = _parts((one for one in told if len(one) > 1), _CARRIED_LINES)
            return sum(self._carry(collection, part) for part in parts)

        # Each import is patient by itself; only an export that breaks off is begun anew.
        carried = self._session.backoff.run(carry_all, on=(StoreUnavailableError,), but=(LaggingError,))
        _LOG.info("%s of others brought over to %s documents of %s", ", ".join(names), carried, collection)

    def _carry(self, collection: str, part: Sequence[Mapping[str, Any]]) -> int:
        """Write fields of others into documents that there are; return into how many."""
        ids = [str(one["id"]) for one in part]
        doing = f"{self._session}: fields of others"

        def read(answer: bytes) -> list[Failed]:
            refused = read_answer(doing, answer, ids)
            if later := next((one for one in refused if one.is_transient), None):  # all of them are sent again
                hint = "try again later; the live collection was not replaced"
                raise StoreUnavailableError(f"{doing}: {collection}: {later.unique_id}: {later.reason}", hint=hint)
            return refused

        refused = self._session.post_lines(
            *_path(collection, "import"),
            lines="\n".join(json.dumps(one, ensure_ascii=False) for one in part).encode(),
            query={"action": "update"},
            read=read,
        )
        wrong = [one for one in refused if not one.reason.startswith(f"{_NOT_FOUND}:")]  # the others are gone meanwhile
        if wrong:
            where = f"{collection}: {wrong[0].unique_id}: {wrong[0].reason}"
            raise StoreError(
                f"{self._session}: fields of others do not fit into {where}",
                hint="mend the documents of the live collection, or drop the field there; it was not replaced",
            )
        return len(part) - len(refused)

    def unique_ids(self, collection: str) -> Iterator[Sequence[str]]:
        """Give the ids of all documents, in pieces."""

        def ask() -> list[str]:
            told = self._session.lines(*_path(collection, "export"), query={"include_fields": "id"})
            return [str(one["id"]) for one in told]

        found = self._session.patiently(ask)
        for start in range(0, len(found), _IDS_OF_A_PIECE):
            yield found[start : start + _IDS_OF_A_PIECE]

    def differing(self, collection: str, rows: pa.RecordBatch) -> Mapping[str, str]:
        """Compare rows with their documents; return unique_id -> what differs."""
        wanted = {row["id"]: row for row in documents(rows).to_pylist()}
        found = self._documents(collection, list(wanted))
        return {uid: told for uid, row in wanted.items() if (told := _difference(row, found.get(uid)))}

    def _documents(self, collection: str, unique_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        filters, odd = _filters(unique_ids)
        for wanted in filters:

            def ask(wanted: str = wanted) -> list[dict[str, Any]]:
                return list(self._session.lines(*_path(collection, "export"), query={"filter_by": wanted}))

            found |= {str(one["id"]): one for one in self._session.patiently(ask)}
        for unique_id in odd:
            try:
                found[unique_id] = self._session.json("GET", *_path(collection), unique_id)
            except NotFoundError:
                _LOG.debug("%s is not there", unique_id)
        return found


def _path(collection: str, *more: str) -> tuple[str, ...]:
    return ("collections", collection, "documents", *more)


def _difference(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> str:
    """Say what differs between a document and what it should be; "" if nothing does."""
    if found is None:
        return "it is not there"
    for name in OWN_FIELDS:
        if wanted[name] != found.get(name):
            return f"{name} is {found.get(name)!r}, not {wanted[name]!r}"
    return ""


def _filters(unique_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return filters that together find some ids, and the ids that a filter cannot name."""
    odd = [uid for uid in unique_ids if "`" in uid]
    filters: list[str] = []
    names: list[str] = []
    size = 0
    for uid in unique_ids:
        if "`" in uid:
            continue
        length = len(quote(f"`{uid}`,", safe=""))
        if names and size + length > _FILTER_CHARACTERS:
            filters.append(f"id:[{','.join(names)}]")
            names, size = [], 0
        names.append(f"`{uid}`")
        size += length
    return [*filters, *([f"id:[{','.join(names)}]"] if names else [])], odd


def _parts(items: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _chosen(rows: pa.RecordBatch, wanted: Mapping[str, object]) -> pa.RecordBatch:
    """Return the rows with some ids."""
    ids = rows.column("unique_id").to_pylist()
    return rows.take(pa.array([place for place, uid in enumerate(ids) if uid in wanted], pa.int64()))


def _sleep(backoff: Backoff, number: int) -> None:
    time.sleep(min(backoff.most_s, backoff.first_s * 2 ** (number - 1)))
