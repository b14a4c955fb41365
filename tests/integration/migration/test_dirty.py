"""Dirty rows: each is cleaned, kept or rejected as it should be, each is counted, and nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_platform.jobs.migration.account import Account
from data_platform.models.columns import PUBLISHED_SCHEMA
from tests.support.migrations import Migrations
from tests.support.sources import BRASILIA, NO_THEME, Row, article, articles, expected, theme_codes, theme_text
from tests.support.stores import Store

_BIG = "ação pública — município\u00a0de São Paulo\u200b\n" * 40_000  # over 1,048,575 bytes, the limit of a tsvector
_EPOCH = datetime(1970, 1, 1, tzinfo=BRASILIA)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """A dirty row.

    Attributes:
        cells: what is dirty about it.
        published: the cells that the world sees otherwise than they came.
        cleanings: what is counted for it, once each.
        reject: (field, reason) if it cannot be stored.
        observed: what is counted about it and stays.
        unknown: theme codes that nobody knows.
    """

    cells: Row
    published: Row = field(default_factory=dict)
    cleanings: tuple[str, ...] = ()
    reject: tuple[str, str] | None = None
    observed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def _null(column: str, *texts: str, kind: str) -> list[Case]:
    return [Case({column: text}, {column: None}, (f"{kind}:{column}",)) for text in texts]


_CASES: list[Case] = [
    # Texts that mean nothing, in every column that knows them.
    *_null("category", "No Category", kind="sentinel"),
    *_null("content", "Error retrieving content", kind="sentinel"),
    *_null("url", "No URL", kind="sentinel"),
    *_null("category", "", "   ", "\u00a0\n\t", kind="empty"),
    *_null("summary", "None", "nan", "NaN", "NaT", kind="null_word"),
    *_null("image", "", kind="empty"),
    *_null("video_url", "", kind="empty"),
    *_null("subtitle", "None", kind="null_word"),
    *_null("editorial_lead", " ", kind="empty"),
    # The same texts where they mean something.
    Case({"category": "No Title", "subtitle": "No Category", "summary": "null", "content": "none"}),
    Case({"title": "None of the above", "content": "\u200b"}),
    # Characters.
    Case({"content": "um\x00dois"}, {"content": "umdois"}, ("nul_character:content",)),
    Case({"title": "um\x00 título", "subtitle": "\x00"}, {"title": "um título", "subtitle": None},
         ("nul_character:title", "nul_character:subtitle", "empty:subtitle")),
    Case({"content": "zero\u200bwidth\ufeff\u00a0 \r\n\x01\x1f\x7f fim"}),
    Case({"content": _BIG}),
    Case({"title": "T" * 3000, "category": "C" * 9000, "image": "https://x/" + "i" * 5000}),
    Case({"url": f"https://www.gov.br/{article(0)['agency']}/" + "-".join(map(str, range(2000)))}),
    # Ids.
    Case({"unique_id": "ç" * 120}),
    Case({"unique_id": "x" * 121}, reject=("unique_id", "too_long")),
    Case({"unique_id": "nul\x00no-id"}, {"unique_id": "nulno-id"}, ("nul_character:unique_id",)),
    Case({"unique_id": "um-slug-legível_a1b2c3"}),
    Case({"unique_id": None}, reject=("unique_id", "missing")),
    Case({"unique_id": ""}, reject=("unique_id", "missing")),
    Case({"unique_id": "nul\x00e-sem-titulo", "title": None}, reject=("title", "missing")),
    # Required cells.
    *[
        Case({"title": text}, reject=("title", "missing"))
        for text in (None, "", "No Title", "None", "nan", "\x00", " ")
    ],
    *[Case({"agency": text}, reject=("agency", "missing")) for text in (None, "", "nan")],
    *[Case({"published_at": when}, reject=("published_at", "missing")) for when in (None, _EPOCH, _EPOCH_UTC)],
    Case({"title": None, "agency": None, "published_at": None}, reject=("agency", "missing")),
    # Instants.
    Case({"updated_datetime": _EPOCH}, {"updated_datetime": None}, ("epoch:updated_datetime",)),
    Case({"published_at": datetime(2018, 12, 3, 23, tzinfo=BRASILIA), "updated_datetime": None}),
    Case({"published_at": datetime(1998, 1, 1, tzinfo=BRASILIA)}, observed=("published_before_2000",)),
    Case({"published_at": datetime(2999, 1, 1, tzinfo=BRASILIA)}, observed=("published_in_future",)),
    Case({"published_at": datetime(1, 1, 2, tzinfo=UTC), "extracted_at": None}, observed=("published_before_2000",)),
    # Media.
    Case({"image": "resolveuid/0123"}, observed=("image_not_absolute",)),
    Case({"image": "../@@images/x.png"}, observed=("image_not_absolute",)),
    # Tags.
    Case({"tags": None}),
    Case({"tags": []}),
    Case({"tags": ["", "com, vírgula", '"aspas"', "{chaves}", "NULL", "\\", "t" * 300]}),
    Case({"tags": ["um", None, "dois"]}, {"tags": ["um", "dois"]}, ("null_tag_dropped:tags",)),
    Case({"tags": ["um\x1fdois", "tr\x00ês", "a\nb"]}, {"tags": ["umdois", "três", "ab"]}, ("control_character:tags",)),
    # Themes.
    Case(NO_THEME | {"theme_1_level_1": "Meio Ambiente"}, {"theme_1_level_1": "05 - Meio Ambiente"},
         ("theme_text:theme_1_level_1",)),
    Case(theme_codes("05") | {"theme_1_level_1": None}, theme_codes("05"), ("theme_text:theme_1_level_1",)),
    Case(theme_codes("05.02") | {"theme_1_level_1": "Meio Ambiente"}, theme_codes("05.02"),
         ("theme_text:theme_1_level_1",)),
    Case(NO_THEME | {"theme_1_level_1": "Rótulo que ninguém conhece"}),
    Case(theme_text("05") | {"theme_1_level_1": "05 - Outro rótulo"}),
    Case(theme_text("05") | {"theme_1_level_1": "77 - Tema novo"}, unknown=("77",)),
    Case(theme_codes("05") | {"theme_1_level_1": "77 - Tema novo", "theme_1_level_1_code": "77",
                              "theme_1_level_1_label": "Tema novo", "most_specific_theme_code": "77",
                              "most_specific_theme_label": "Tema novo"}, unknown=("77",)),
    Case(theme_codes("05.02") | {"theme_1_level_3_code": "01.01.01", "theme_1_level_3_label": "Política Fiscal"}),
    Case(theme_codes("05.02.03") | {"most_specific_theme_code": "05.02", "most_specific_theme_label": "Clima"}),
    Case(theme_codes("01.01.01") | {"theme_1_level_2_label": None}),
    Case(NO_THEME | {"most_specific_theme_label": "Só um rótulo"}),
    # Agencies.
    Case({"agency": "plataformamaisbrasil"}),
    Case({"agency": "pt-br"}),
]  # fmt: skip
_STUBS = ("plataformamaisbrasil", "pt-br")


def _row(number: int, case: Case) -> Row:
    return article(number, **case.cells)


def _kept() -> dict[str, Row]:
    """Return what must be published, by id."""
    rows = [_row(number, case) | case.published for number, case in enumerate(_CASES) if case.reject is None]
    return {row["unique_id"]: expected(row) for row in rows}


def _write(migrations: Migrations) -> None:
    rows = [_row(number, case) for number, case in enumerate(_CASES)]
    migrations.write(rows[::2], rows[1::2])


def _check_account(account: Account) -> None:
    rejected = [case.reject for case in _CASES if case.reject]
    kept = [case for case in _CASES if not case.reject]
    assert (account.read, account.loaded, account.rejected) == (len(_CASES), len(kept), len(rejected))
    assert account.balanced
    assert account.rejected_by_reason == Counter(f"{name}_{reason}" for name, reason in rejected)
    assert account.cleanings == Counter(kind for case in kept for kind in case.cleanings)
    assert account.observations == Counter(seen for case in kept for seen in case.observed)
    assert account.unknown_themes == Counter(code for case in kept for code in case.unknown)
    assert account.stub_agencies == dict.fromkeys(_STUBS, 1)
    assert (account.duplicates, account.updated, account.already_present, account.url_doubles) == (0, 0, 0, 0)


def test_each_dirty_cell_is_dealt_with_as_it_should_be(migrations: Migrations, store: Store) -> None:
    _write(migrations)
    outcome = migrations.run(max_reject_rate=1)
    _check_account(outcome.account)
    published, kept = store.published(), _kept()
    for uid, row in kept.items():
        assert published[uid] == row
    assert set(published) == set(kept)

    stubs = [agency for agency in store.agencies() if agency["is_stub"]]
    assert [(stub["key"], stub["name"]) for stub in stubs] == [(key, key) for key in _STUBS]

    rejects = store.rejects()
    assert len(rejects) == outcome.account.rejected
    wanted = {number: case.reject for number, case in enumerate(_CASES) if case.reject}
    for reject in rejects:
        number = 2 * reject["row_no"] + ("train-00001" in reject["file"])
        assert (reject["field"], reject["reason"]) == (wanted[number][0], "_".join(wanted.pop(number)))
        came = _row(number, _CASES[number])
        assert {name: reject["payload"][name] for name in came if not isinstance(came[name], datetime)} == {
            name: value for name, value in came.items() if not isinstance(value, datetime)
        }  # the whole row, NUL and all
    assert wanted == {}

    validation = outcome.validation
    assert validation is not None
    assert validation.verdict == "equal after counted cleanings"
    cleaned = [case for case in _CASES if case.cleanings and not case.reject]
    assert (validation.explained, validation.equal) == (len(cleaned), len(kept) - len(cleaned))
    assert validation.explained_by_kind == Counter(kind for case in cleaned for kind in case.cleanings)
    assert validation.unaccounted == validation.different == validation.only_in_target == 0
    assert validation.accounted == {
        f"reject:{reason}": rows for reason, rows in outcome.account.rejected_by_reason.items()
    }


def test_a_dry_run_gives_the_same_account_and_writes_nothing(migrations: Migrations, store: Store) -> None:
    before, definitions = store.contents(), store.definitions()
    _write(migrations)
    dry = migrations.run(dry_run=True, max_reject_rate=1)
    _check_account(dry.account)
    assert dry.validation is None
    assert store.contents() == before
    assert store.definitions() == definitions
    real = migrations.run(max_reject_rate=1)
    assert real.run.mode == "bulk"
    same = {"news_rows": 0, "rejects_sample": ()}
    assert real.account.to_dict() | same == dry.account.to_dict() | same


def test_a_second_time_nothing_changes(migrations: Migrations, store: Store) -> None:
    _write(migrations)
    migrations.run(max_reject_rate=1, validate=False)
    versions = store.versions()
    again = migrations.run(max_reject_rate=1).account
    assert again.changed_nothing
    assert again.already_present == len(versions)
    assert store.versions() == versions
    assert again.cleanings == Counter(kind for case in _CASES if not case.reject for kind in case.cleanings)


def test_days_of_summer_time_are_the_days_that_were_meant(migrations: Migrations, store: Store) -> None:
    rows = [
        article(0, published_at=datetime(2018, 12, 3, 23, tzinfo=BRASILIA)),  # midnight of the 4th in São Paulo
        article(1, published_at=datetime(2018, 6, 3, 23, tzinfo=BRASILIA)),
        article(2, published_at=datetime(2024, 12, 4, 0, tzinfo=BRASILIA)),
    ]
    migrations.bring(rows, validate=False)
    days = {row["unique_id"]: store.derived()[row["unique_id"]]["published_date"].isoformat() for row in rows}
    assert list(days.values()) == ["2018-12-04", "2018-06-03", "2024-12-04"]


def test_the_first_level_is_known_from_its_text(migrations: Migrations, store: Store) -> None:
    """Nine rows in ten have no code; a loader that reads only the code columns loses their theme."""
    rows = [article(0, **theme_text("05")), article(1, **theme_codes("01.01.02")), article(2, **NO_THEME)]
    migrations.bring(rows, validate=False)
    found = store.derived()
    themes = [tuple(found[row["unique_id"]][name] for name in ("l1", "l2", "l3", "most", "theme_form")) for row in rows]
    assert themes == [
        ("05", None, None, "05", "text"),
        ("01", "01.01", "01.01.02", "01.01.02", "codes"),
        (None, None, None, None, None),
    ]


def _damaged_texts(texts: list[bytes]) -> pa.Array:
    """Return texts that are not valid UTF-8, as no writer should write them."""
    offsets = pa.array([0, *[sum(map(len, texts[: n + 1])) for n in range(len(texts))]], pa.int32())
    return pa.Array.from_buffers(pa.string(), len(texts), [None, offsets.buffers()[1], pa.py_buffer(b"".join(texts))])


def test_bytes_that_are_no_text_are_replaced_and_counted(migrations: Migrations, store: Store) -> None:
    rows = articles(4)
    migrations.write(rows)
    table = pa.Table.from_pylist(rows, schema=PUBLISHED_SCHEMA)
    at = table.schema.get_field_index("content")
    damaged = _damaged_texts([b"bom", "ação".encode("latin-1"), b"\xff\xfe", "bom, 🛰".encode()])
    table = table.set_column(at, PUBLISHED_SCHEMA.field("content"), damaged)
    pq.write_table(table, migrations.folder / "data" / "train-00000-of-00001.parquet")
    outcome = migrations.run()
    assert outcome.account.cleanings == {"invalid_utf8:content": 2}
    published = store.published()
    assert [published[row["unique_id"]]["content"] for row in rows] == ["bom", "a��o", "��", "bom, 🛰"]
    assert outcome.validation is not None
    assert outcome.validation.verdict == "equal after counted cleanings"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_dates_that_are_texts_are_read_or_kept(kind: pa.DataType, migrations: Migrations, store: Store) -> None:
    texts: Mapping[str, Any] = {
        "2024-05-06T03:00:00Z": datetime(2024, 5, 6, 3, tzinfo=UTC),
        "2018-12-04": datetime(2018, 12, 4, 2, tzinfo=UTC),
        "06/05/2024 10:30": datetime(2024, 5, 6, 13, 30, tzinfo=UTC),
        "31/02/2025": None,
        "ontem": None,
        "NaT": None,
    }
    schema = PUBLISHED_SCHEMA
    for name in ("published_at", "updated_datetime"):
        schema = schema.set(schema.get_field_index(name), pa.field(name, kind))
    rows = [article(n, published_at=text, updated_datetime=None) for n, text in enumerate(texts)]
    rows.append(article(20, published_at="2024-05-06", updated_datetime="anteontem"))
    migrations.write(rows, schema=schema)
    outcome = migrations.run(max_reject_rate=1)
    assert outcome.account.rejected_by_reason == {"published_at_unreadable": 2, "published_at_missing": 1}
    assert outcome.account.cleanings == {"unreadable:updated_datetime": 1}
    published = store.published()
    for row in rows[:3]:
        assert published[row["unique_id"]]["published_at"] == texts[row["published_at"]]
    payloads = {reject["payload"]["published_at"] for reject in store.rejects()}
    assert payloads == {"31/02/2025", "ontem", None}
    details = {reject["detail"] for reject in store.rejects() if reject["reason"] == "published_at_unreadable"}
    assert details == {"cannot be read as a date: '31/02/2025'", "cannot be read as a date: 'ontem'"}
    assert outcome.validation is not None
    assert outcome.validation.passed


def test_an_address_that_no_index_can_hold_is_loaded_all_the_same(migrations: Migrations, store: Store) -> None:
    """A B-tree entry has at most 2,704 bytes; the row must not cost the whole migration its indexes."""
    fresh = store.definitions()
    rows = articles(3)
    rows[1]["url"] = "https://www.gov.br/" + "/".join(article(n)["unique_id"] for n in range(300))
    outcome = migrations.bring(rows)
    assert outcome.account.loaded == 3
    assert store.published()[rows[1]["unique_id"]] == expected(rows[1])
    assert store.definitions() == fresh


def test_an_agency_that_no_index_can_hold_is_rejected(migrations: Migrations, store: Store) -> None:
    """As when columns slipped: a text stands where the agency's key should."""
    rows = articles(3)
    rows[1]["agency"] = " ".join(article(n)["unique_id"] for n in range(300))
    outcome = migrations.bring(rows, max_reject_rate=1)
    assert outcome.account.rejected_by_reason == {"agency_too_long": 1}
    assert store.rejects()[0]["payload"]["agency"] == rows[1]["agency"]
    assert outcome.validation is not None
    assert outcome.validation.verdict == "equal"
