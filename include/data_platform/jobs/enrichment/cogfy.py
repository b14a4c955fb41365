"""Themes and summaries that Cogfy's models write into the cells of a collection (FIELD_FACTS §6.2, §6.3).

A row is uploaded once, whatever happens: it is looked up before, page by page, and a look-up that fails is an error and
never "it is not there" (§14 fault 38). Whether its cells are ready is read from the cells (fault 39). Days are asked
for one by one, and one that does not answer does not stop the others (fault 40).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from data_platform.errors import ConfigurationError
from data_platform.jobs.enrichment.codes import ThemeCodes
from data_platform.jobs.enrichment.cogfy_client import DATE, TEXT, CogfyClient, Field, Record
from data_platform.jobs.enrichment.interface import Enrichment, Gathering, Progress, Row, Ticket, ticket_of
from data_platform.jobs.enrichment.problems import EnricherUnavailableError, RequestRefusedError
from data_platform.models.columns import COLUMNS, Column, Kind, Owner
from data_platform.models.days import Days, day_of

__all__ = ["CogfyEnricher"]

_LOG = logging.getLogger(__name__)
_LEVELS = ("theme_1_level_1", "theme_1_level_2", "theme_1_level_3")
_SUMMARY = "summary"
#: Cells that a collection must have to be of use.
_NEEDED = (_LEVELS[0], _SUMMARY)
_UPLOADED: tuple[Column, ...] = tuple(c for c in COLUMNS if c.owner is not Owner.ENRICHMENT)
#: What rows are found by, and the types with which that works.
_FOUND_BY = {"unique_id": (TEXT,), "published_at": (DATE, TEXT)}
#: After so many days or rows in a row that the service does not answer for, or refuses, it is not asked for the rest.
_ENOUGH = 3
#: Of so few rows of a day each is asked for by itself.
_FEW = 2


@dataclass(frozen=True)
class _Schema:
    """The collection, and what it really has for fields."""

    collection_id: str
    fields: Mapping[str, Field]


class CogfyEnricher:
    """Enriches through a collection of Cogfy.

    Args:
        client: asks Cogfy.
        codes: the tree.
        collection_name: the collection, by its name.
        collection_id: the collection, by its id, which wins.
    """

    name = "cogfy"
    approximate = False
    waits = True

    def __init__(
        self, client: CogfyClient, codes: ThemeCodes, *, collection_name: str = "", collection_id: str = ""
    ) -> None:
        self.client = client
        self._codes = codes
        self._wanted = {"name": collection_name, "collection_id": collection_id}
        self.version = f"collection {collection_id or collection_name}"
        self._known: _Schema | None = None

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def submit(self, rows: Sequence[Row]) -> Progress:
        """Upload the rows that the collection does not have; those that it has may be ready at once."""
        if not rows:
            return Progress()
        found = Gathering()
        by_id = {row["unique_id"]: row for row in rows}
        schema = self._schema_to_write()
        uploads = _Uploads(self.client, schema)
        for day, tickets in _by_day(map(ticket_of, rows)):
            if uploads.silent >= _ENOUGH:
                found.fail((t.unique_id for t in tickets), "service_unavailable", "not asked: it does not answer")
                continue
            try:
                there = self._look_up(tickets)
            except EnricherUnavailableError as error:
                # Nothing of this day is uploaded, since it may be there; the other days go on.
                uploads.not_answered(error)
                found.fail((t.unique_id for t in tickets), "service_unavailable", str(error))
                found.problems.append(f"{day}: {error}")
                continue
            uploads.silent = 0
            for ticket in tickets:
                if ticket.unique_id in there:
                    self._read(ticket, there[ticket.unique_id], found, final=False)
                else:
                    uploads.add(ticket, by_id[ticket.unique_id], found)
        uploads.close(found)
        return found.progress()

    def collect(self, tickets: Sequence[Ticket], *, final: bool = False) -> Progress:
        """Read the cells of rows that were uploaded."""
        found = Gathering()
        silent, answered = 0, 0
        failure: EnricherUnavailableError | None = None
        for day, its in _by_day(tickets):
            if silent >= _ENOUGH:
                found.pending += its
                continue
            try:
                there = self._look_up(its)
            except EnricherUnavailableError as error:
                # The other days go on; these rows stay pending and are asked for the next time.
                silent += 1
                failure = error
                found.pending += its
                found.problems.append(f"{day}: {error}")
                continue
            silent, answered = 0, answered + 1
            for ticket in its:
                if ticket.unique_id in there:
                    self._read(ticket, there[ticket.unique_id], found, final=final)
                else:
                    found.fail([ticket.unique_id], "not_in_collection", "its record is gone; it is uploaded anew later")
        if failure is not None and not answered:
            raise failure
        return found.progress()

    # ------------------------------------------------------------------------------------------- what is there

    def _schema(self) -> _Schema:
        """Return the collection as it was when first looked at."""
        if self._known is None:
            self._known = self._look_at_collection()
        return self._known

    def _look_at_collection(self) -> _Schema:
        collection = self.client.find_collection(**self._wanted)
        fields = self.client.fields(str(collection["id"]))
        if missing := [name for name in _NEEDED if name not in fields]:
            raise ConfigurationError(
                f"{self.client.service}: the collection has no field {' and no field '.join(missing)}",
                hint="they are the cells that its models fill: make them there, or name another collection",
            )
        return _Schema(str(collection["id"]), fields)

    def _schema_to_write(self) -> _Schema:
        """Return the schema, with the fields that an upload needs."""
        schema = self._schema()
        missing = [column for column in _UPLOADED if column.name not in schema.fields]
        if missing:
            made = {
                column.name: self.client.create_field(
                    schema.collection_id, column.name, DATE if column.kind is Kind.INSTANT else TEXT
                )
                for column in missing
            }
            _LOG.warning("%s: fields made: %s", self.client.service, ", ".join(made))
            schema = self._known = _Schema(schema.collection_id, {**schema.fields, **made})
        unfit = [name for name, types in _FOUND_BY.items() if schema.fields[name].type not in types]
        if unfit:
            raise ConfigurationError(
                f"{self.client.service}: {unfit[0]} is a {schema.fields[unfit[0]].type} there",
                hint=f"rows are found by it: make it one of {' or '.join(_FOUND_BY[unfit[0]])}",
            )
        return schema

    def _look_up(self, tickets: Sequence[Ticket]) -> dict[str, list[Record]]:
        """Return unique_id -> records, for the rows that the collection has; several stand for one row at times."""
        schema = self._schema()
        key, published = schema.fields["unique_id"], schema.fields["published_at"]
        wanted = {ticket.unique_id for ticket in tickets}
        there: dict[str, list[Record]] = {}
        if len(wanted) > _FEW:
            start, end = _window(tickets)
            for record in self.client.records_between(schema.collection_id, published, start, end, ordered_by=key):
                uid = record.text(key)
                if uid in wanted:
                    there.setdefault(str(uid), []).append(record)
        # A record may lie under another date: an editor changed it, or it is of the time when local hours went as UTC.
        for uid in sorted(wanted - there.keys()):
            if found := self.client.records_equal(schema.collection_id, key, uid):
                there[uid] = found
        return there

    # ------------------------------------------------------------------------------------------- what it says

    def _read(self, ticket: Ticket, records: Sequence[Record], found: Gathering, *, final: bool) -> None:
        """Note what the records of a row say; of several the one that says most, then the first by its id."""
        said = [self._cells_of(record) for record in sorted(records, key=lambda record: record.id)]
        levels, summary = max(said, key=lambda cells: sum(map(bool, (*cells[0], cells[1]))))
        complete = all(levels) and bool(summary)
        if not (complete or (final and (levels[0] or summary))):
            found.pending.append(ticket)
            return
        chain = self._codes.chain(levels)
        if not chain.themes and not summary:
            found.fail([ticket.unique_id], "no_valid_theme", "; ".join(f"{text}" for text in levels if text)[:200])
            return
        found.ready.append(
            Enrichment(
                unique_id=ticket.unique_id,
                theme_code=chain.code,
                summary=summary,
                enricher=self.name,
                version=self.version,
                partial=bool(chain.themes) and not all(levels),
                notes=chain.notes,
            )
        )

    def _cells_of(self, record: Record) -> tuple[list[str | None], str | None]:
        try:
            return self._texts(record)
        except LookupError:
            # An option that was added since the fields were read.
            schema = self._schema()
            self._known = _Schema(schema.collection_id, self.client.fields(schema.collection_id))
        try:
            return self._texts(record)
        except LookupError as error:
            _LOG.warning("%s: record %s: %s", self.client.service, record.id, error)
            return [None] * len(_LEVELS), None

    def _texts(self, record: Record) -> tuple[list[str | None], str | None]:
        fields = self._schema().fields
        # A collection without a cell for a deeper level has nothing to wait for there.
        levels = [record.text(fields[name]) for name in _LEVELS if name in fields]
        return levels, record.text(fields[_SUMMARY])


class _Uploads:
    """Uploads rows one by one and knows when to stop."""

    def __init__(self, client: CogfyClient, schema: _Schema) -> None:
        self._client = client
        self._schema = schema
        self.silent = 0
        self._accepted = 0
        self._refused: list[RequestRefusedError] = []
        self._errors: list[EnricherUnavailableError] = []

    def add(self, ticket: Ticket, row: Row, found: Gathering) -> None:
        """Upload a row, and note it as pending or failed.

        Raises:
            RequestRefusedError: the first rows are all refused: the collection has other types than its fields say.
        """
        if self.silent >= _ENOUGH:
            found.fail([ticket.unique_id], "service_unavailable", "not asked: it does not answer")
            return
        try:
            self._upload(ticket.unique_id, self._properties(row))
        except RequestRefusedError as error:
            self._refused.append(error)
            if not self._accepted and len(self._refused) >= _ENOUGH:
                raise  # it is not this row that is odd
            found.fail([ticket.unique_id], "refused", str(error))
        except EnricherUnavailableError as error:
            self.not_answered(error)
            found.fail([ticket.unique_id], "service_unavailable", str(error))
        else:
            self.silent = 0
            self._accepted += 1
            found.pending.append(ticket)

    def not_answered(self, error: EnricherUnavailableError) -> None:
        """Note that the service did not answer."""
        self.silent += 1
        self._errors.append(error)

    def close(self, found: Gathering) -> None:
        """Raise if nothing was achieved: the whole is then worth another try, or none.

        Raises:
            RequestRefusedError: every row was refused.
            EnricherUnavailableError: the service did not answer at all.
        """
        if not (self._accepted or found.ready or found.pending):
            for error in (*self._refused, *self._errors):
                raise error

    def _upload(self, unique_id: str, properties: Mapping[str, Any]) -> None:
        """Create a record; an answer that was lost is looked for before the row is sent again."""
        lost = False

        def attempt() -> None:
            nonlocal lost
            key = self._schema.fields["unique_id"]
            if lost and self._client.records_equal(self._schema.collection_id, key, unique_id):
                return
            lost = True
            self._client.create_record(self._schema.collection_id, properties)

        self._client.service.backoff.run(attempt, on=(EnricherUnavailableError,))

    def _properties(self, row: Row) -> dict[str, Any]:
        """Return a row as the collection wants it: fields of its types, nothing for what is empty."""
        properties: dict[str, Any] = {}
        for column in _UPLOADED:
            made, value = self._schema.fields[column.name], _text_of(row.get(column.name))
            if value is None or made.computed or made.type not in {TEXT, DATE}:
                continue
            if made.type == DATE and not isinstance(value, datetime):
                continue
            properties[made.id] = made.value_of(value)
        return properties


def _text_of(value: Any) -> str | datetime | None:  # noqa: ANN401 - any cell
    if value is None or value == "" or (isinstance(value, list) and not value):
        return None
    return value if isinstance(value, datetime) else str(value)


def _by_day(tickets: Iterable[Ticket]) -> list[tuple[date, list[Ticket]]]:
    """Return the tickets of each São Paulo day, the newest day first: it is what readers wait for."""
    days: dict[date, list[Ticket]] = {}
    for ticket in tickets:
        days.setdefault(day_of(ticket.published_at), []).append(ticket)
    return sorted(days.items(), reverse=True)


def _window(tickets: Sequence[Ticket]) -> tuple[datetime, datetime]:
    """Return the instants between which the tickets of one day lie."""
    day = day_of(tickets[0].published_at).isoformat()
    days = Days.of(day, day)
    return days.start, days.end or days.start + timedelta(days=1)
