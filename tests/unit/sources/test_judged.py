"""Payloads of rejected rows: the whole row as JSON, the same text for the same row."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given, settings

from data_platform.models.columns import COLUMN_NAMES, COLUMNS, Kind
from data_platform.sources.judged import Reject, payload_digest, payloads_of
from tests.support.rows import article, batch_of, rows, sliced


def test_a_payload_is_the_whole_row() -> None:
    row = article(
        "a", title=None, content="a\x00b", tags=["x", "é"], extracted_at=datetime(2024, 1, 2, 3, 4, 5, 6, UTC)
    )
    (payload,) = payloads_of(batch_of([row]), [{}])
    assert list(json.loads(payload)) == sorted(COLUMN_NAMES)
    assert json.loads(payload) == row | {
        "published_at": "2024-05-06T03:00:00+00:00",
        "extracted_at": "2024-01-02T03:04:05.000006+00:00",
    }
    assert '"é"' in payload


def test_what_could_not_be_read_is_kept_as_it_was() -> None:
    batch = batch_of([article("a", published_at=None), article("b")])
    unreadable = [{"published_at": "30 de fevereiro"}, {}]
    first, second = (json.loads(payload)["published_at"] for payload in payloads_of(batch, unreadable))
    assert (first, second) == ("30 de fevereiro", "2024-05-06T03:00:00+00:00")


@settings(max_examples=25, deadline=None)
@given(rows(max_size=4))
def test_a_payload_says_everything_and_the_same_row_gives_the_same(batch: object) -> None:
    payloads = payloads_of(batch, [{}] * batch.num_rows)  # type: ignore[attr-defined]
    for payload, row in zip(payloads, batch.to_pylist(), strict=True):  # type: ignore[attr-defined]
        found = json.loads(payload)
        for column in COLUMNS:
            if column.kind is Kind.INSTANT and row[column.name] is not None:
                found[column.name] = datetime.fromisoformat(found[column.name])
        assert found == row
    assert payloads_of(sliced(batch), [{}] * len(payloads)) == payloads


def test_rejects_are_recognised_by_their_payload_alone() -> None:
    one = Reject("{}", "a", "mec", "title", "title_missing", "", "f.parquet", 1)
    other = Reject("{}", "b", None, "agency", "agency_missing", "x", "g.parquet", 2)
    assert one.digest == other.digest == payload_digest("{}") == "99914b932bd37a50b983c5e7c90ae93b"
