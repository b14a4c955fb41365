"""The API of Cogfy: collections, their fields, their records (FIELD_FACTS §6.1; docs.cogfy.com).

Pages count from 0. A filter is always wrapped in an `and`: by itself an `equals` is answered with 400.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from data_platform.errors import ConfigurationError
from data_platform.jobs.enrichment.paging import PAGE_SIZES, all_items
from data_platform.jobs.enrichment.problems import EnricherError, GatewayError
from data_platform.jobs.enrichment.service import PATIENCE, JsonService, ServiceAddress
from data_platform.managers.hub.session import Backoff
from data_platform.settings import Settings

__all__ = ["CogfyClient", "Field", "Record", "utc_text"]

DATE, TEXT = "date", "text"
#: A window is not made narrower than this.
_NARROWEST = timedelta(hours=1)
#: Of pages with the records of one row, of which there is one, or a few.
_SINGLE = (25,)


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column of a collection.

    Attributes:
        id: by which records name it.
        name: by which people do.
        type: "text", "date", "select", "number", …
        computed: whether a model fills it.
        options: of a select, id -> label.
    """

    id: str
    name: str
    type: str
    computed: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    def value_of(self, value: str | datetime) -> dict[str, Any]:
        """Return a value in the shape of this field, which is a text or a date."""
        return {"type": self.type, self.type: {"value": _plain(value)}}


@dataclass(frozen=True)
class Record:
    """A row of a collection.

    Attributes:
        id: Cogfy's own.
        properties: id of a field -> what stands there.
    """

    id: str
    properties: Mapping[str, Any]

    def text(self, of: Field) -> str | None:
        """Return what stands in a field, as text; of a select its label; None if nothing stands there yet.

        Raises:
            LookupError: a select names an option that the field does not have.
        """
        found = self.properties.get(of.id)
        kind = found.get("type", of.type) if isinstance(found, dict) else of.type
        inner = found.get(kind) if isinstance(found, dict) else None
        value = inner.get("value") if isinstance(inner, dict) else None
        if kind == "select":
            value = _label(value, of)
        return value.strip() or None if isinstance(value, str) else None


class CogfyClient:
    """Asks Cogfy.

    Args:
        settings: address and key.
        backoff: how requests are tried again.
        page_sizes: of listings, the largest first.

    Raises:
        ConfigurationError: no key is set.
    """

    def __init__(
        self, settings: Settings, *, backoff: Backoff = PATIENCE, page_sizes: Sequence[int] = PAGE_SIZES
    ) -> None:
        if not settings.cogfy_api_key:
            raise ConfigurationError("COGFY_API_KEY is not set", hint="set it, or choose another ENRICHER")
        self._sizes = tuple(page_sizes)
        self.service = JsonService(
            ServiceAddress(
                name="Cogfy",
                url=settings.cogfy_server_url,
                key=settings.cogfy_api_key,
                key_header="Api-Key",
                url_setting="COGFY_SERVER_URL",
                key_setting="COGFY_API_KEY",
            ),
            backoff=backoff,
        )

    def close(self) -> None:
        """Close the connections."""
        self.service.close()

    def find_collection(self, *, name: str = "", collection_id: str = "") -> dict[str, Any]:
        """Return the collection with an id, else the one with a name.

        Raises:
            ConfigurationError: neither is given; or no collection has the name, or several have it.
            EnricherError, EnricherUnavailableError: see `JsonService.call`.
        """
        if collection_id:
            return self.service.call("GET", f"collections/{collection_id}")
        if not name:
            raise ConfigurationError(
                "no collection of Cogfy is named",
                hint="set COGFY_COLLECTION_NAME or COGFY_COLLECTION_ID: none is written by default",
            )

        def ask(number: int, size: int, _: bool) -> dict[str, Any]:  # noqa: FBT001 - as all_items calls it
            return self.service.call("GET", "collections", query={"pageNumber": number, "pageSize": size})

        found = [c for c in all_items(ask, what=f"{self.service}: collections", sizes=(100,)) if c.get("name") == name]
        if len(found) != 1:
            many = f"{len(found)} collections are called" if found else "no collection is called"
            raise ConfigurationError(
                f"{self.service}: {many} {name!r}", hint="check COGFY_COLLECTION_NAME, or set COGFY_COLLECTION_ID"
            )
        return found[0]

    def fields(self, collection_id: str) -> dict[str, Field]:
        """Return the fields of a collection by name."""
        answer = self.service.call("GET", f"collections/{collection_id}/fields")
        listed = answer.get("data")
        if not isinstance(listed, list):
            raise EnricherError(f"{self.service}: the answer holds no fields", hint="check COGFY_SERVER_URL")
        return {made.name: made for made in map(_field, listed)}

    def create_field(self, collection_id: str, name: str, kind: str) -> Field:
        """Add a field; not asked twice, since a second one would have the same name."""
        path = f"collections/{collection_id}/fields"
        answer = self.service.once("POST", path, send={"name": name, "type": kind})
        return Field(id=str(answer["id"]), name=name, type=kind)

    def create_record(self, collection_id: str, properties: Mapping[str, Any]) -> str:
        """Add a record and return its id; not asked twice, since a second one would be another record."""
        path = f"collections/{collection_id}/records"
        return str(self.service.once("POST", path, send={"properties": dict(properties)}).get("id", ""))

    def records_equal(self, collection_id: str, of: Field, value: str) -> list[Record]:
        """Return the records that have a value in a field."""
        return list(self._query(collection_id, [_condition("equals", of, value)], of, sizes=_SINGLE))

    def records_between(
        self, collection_id: str, of: Field, start: datetime, end: datetime, *, ordered_by: Field
    ) -> Iterator[Record]:
        """Give the records whose date lies in a window, in halves if the gateway gives up on the whole.

        Args:
            collection_id: the collection.
            of: the field with the date.
            start: first instant of the window.
            end: first instant after it.
            ordered_by: a field without ties, so that pages do not overlap.
        """
        last = end - timedelta(seconds=1)  # instants are sent in whole seconds
        conditions = [
            _condition("greaterThanOrEquals", of, start),
            _condition("lessThanOrEquals", of, last),
        ]
        try:
            found = list(self._query(collection_id, conditions, ordered_by))
        except GatewayError:
            if end - start <= _NARROWEST:
                raise
            middle = (start + (end - start) / 2).replace(microsecond=0)
            yield from self.records_between(collection_id, of, start, middle, ordered_by=ordered_by)
            yield from self.records_between(collection_id, of, middle, end, ordered_by=ordered_by)
        else:
            yield from found

    def count(self, collection_id: str) -> int:
        """Return how many records a collection has."""
        send = {"pageNumber": 0, "pageSize": 1}
        return int(self.service.call("POST", f"collections/{collection_id}/records/query", send=send)["totalSize"])

    def _query(
        self,
        collection_id: str,
        conditions: Sequence[Mapping[str, Any]],
        ordered_by: Field,
        *,
        sizes: Sequence[int] = (),
    ) -> Iterator[Record]:
        wanted = {
            "filter": {"type": "and", "and": {"filters": list(conditions)}},
            "orderBy": [{"fieldId": ordered_by.id, "direction": "asc"}],
        }
        path = f"collections/{collection_id}/records/query"

        def ask(number: int, size: int, smaller: bool) -> dict[str, Any]:  # noqa: FBT001 - as all_items calls it
            # A gateway that gives up on a page is asked for a smaller one at once; the smallest is asked for patiently.
            send = {**wanted, "pageNumber": number, "pageSize": size}
            return self.service.call("POST", path, send=send, but=(GatewayError,) if smaller else ())

        for item in all_items(ask, what=f"{self.service}: records", sizes=sizes or self._sizes):
            yield Record(item["id"], item.get("properties") or {})


def utc_text(instant: datetime) -> str:
    """Return an instant as Cogfy has dates: real UTC, in whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(kind: str, of: Field, value: str | datetime) -> dict[str, Any]:
    return {"type": kind, kind: {"fieldId": of.id, "value": _plain(value)}}


def _plain(value: str | datetime) -> str:
    return utc_text(value) if isinstance(value, datetime) else value


def _field(listed: Mapping[str, Any]) -> Field:
    data = listed.get("data")
    select = data.get("select") if isinstance(data, dict) else None
    options = select.get("options") if isinstance(select, dict) else None
    return Field(
        id=str(listed.get("id", "")),
        name=str(listed.get("name", "")),
        type=str(listed.get("type", "")),
        computed=bool(listed.get("operation")),
        options={str(option["id"]): str(option.get("label", "")) for option in options or ()},
    )


def _label(value: Any, of: Field) -> str | None:  # noqa: ANN401 - of an answer
    """Return the label of the option that is chosen; of several the first."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return None
    chosen = value[0]
    if chosen.get("label"):  # it comes along at times
        return str(chosen["label"])
    if chosen.get("id") not in of.options:
        raise LookupError(f"{of.name} has no option {chosen.get('id')!r}")
    return of.options[str(chosen["id"])]
