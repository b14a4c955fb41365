"""Rows in, rows out: what each write makes of the dataset at the Hub's stand-in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest
import yaml

from data_platform.errors import ConfigurationError, StoreError
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.kept_rejects import KeptRejects
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA
from data_platform.settings import Settings
from data_platform.sources.judged import Reject
from tests.support.hub import DATASET, REDUCED, Hub, columns, parquet_bytes, published
from tests.support.sources import BRASILIA, NO_THEME, Row, article, articles, newer, theme_codes, theme_text

MAKE = Callable[..., DatasetManager]
UNDATED = "data/train-undated.parquet"


def by_id(rows: list[Row]) -> dict[str, Row]:
    found = {row["unique_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def frame(rows: list[Row], *names: str) -> pd.DataFrame:
    return pd.DataFrame([{name: row[name] for name in ("unique_id", *names)} for row in rows])


class Sink:
    """Keeps rejects in a list."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Reject]] = []

    def keep(self, rejects: Sequence[Reject], *, origin: str) -> int:
        self.kept += [(origin, reject) for reject in rejects]
        return len(rejects)


# ---------------------------------------------------------------------------------------------- insert


def test_rows_stand_in_the_files_of_their_months_in_order(manager: DatasetManager, hub: Hub) -> None:
    rows = articles(70)
    assert manager.insert(columns(rows)) == 70
    assert hub.files() == ["README.md", *(f"data/train-2024-0{month}.parquet" for month in (3, 4, 5))]
    assert by_id(hub.all_rows()) == by_id([published(row) for row in rows])
    april = hub.rows()["data/train-2024-04.parquet"]
    assert [row["published_at"].month for row in april] == [4] * 30
    assert april == sorted(april, key=lambda row: (row["published_at"], row["unique_id"]))


def test_the_same_rows_again_change_nothing(manager: DatasetManager, hub: Hub) -> None:
    rows = articles(5)
    assert manager.insert(columns(rows)) == 5
    heads = hub.head(), hub.head(REDUCED)
    for allow_update in (False, True):
        again = manager.insert_rows(columns(rows), allow_update=allow_update)
        assert (again.affected, again.unchanged) == (0, 5)
    assert (hub.head(), hub.head(REDUCED)) == heads


def test_only_the_months_that_rows_touch_are_fetched_and_sent(manager: DatasetManager, hub: Hub) -> None:
    manager.insert(columns(articles(70)))
    before = {path: hub.content(path) for path in hub.files()}
    hub.server.requests.clear()
    assert manager.insert(columns([article(7), article(200, published_at=datetime(2024, 4, 9, tzinfo=BRASILIA))])) == 1
    changed = [path for path in hub.files() if before.get(path) != hub.content(path)]
    assert changed == ["data/train-2024-04.parquet"]
    sent = [request for request in hub.server.requests if request.startswith("PUT")]
    assert len(sent) == 2  # the month, and the same month of the reduced dataset


def test_a_batch_is_one_commit_of_each_dataset(manager: DatasetManager, hub: Hub) -> None:
    """Scraper and enrichment columns of a day come together."""
    manager.insert(columns(articles(90)))
    assert (len(hub.commits()), len(hub.commits(REDUCED))) == (2, 2)
    assert hub.commits()[0]["title"].startswith("Insert: 2024-03, 2024-04, ")
    assert "inserted 90, updated 0" in hub.commits()[0]["message"]


def test_an_existing_row_is_left_alone_unless_told_otherwise(manager: DatasetManager, hub: Hub) -> None:
    row = article(3)
    manager.insert(columns([row]))
    changed = newer(row, title="Outro título", summary="outro resumo", **theme_text("20"))
    assert manager.insert(columns([changed])) == 0
    outcome = manager.insert_rows(columns([changed]), allow_update=True)
    assert (outcome.updated, list(outcome.written)) == (1, [row["unique_id"]])
    # The scraper's columns follow; the enrichment's stay.
    expected = row | {"title": "Outro título", "extracted_at": changed["extracted_at"]}
    assert hub.all_rows() == [published(expected)]


def test_an_older_scrape_and_a_mere_new_time_change_nothing(manager: DatasetManager, hub: Hub) -> None:
    row = article(3)
    manager.insert(columns([row]))
    head = hub.head()
    assert manager.insert(columns([newer(row, hours=-1, title="Velho")]), allow_update=True) == 0
    assert manager.insert(columns([newer(row)]), allow_update=True) == 0
    assert hub.head() == head


def test_a_row_with_another_id_is_recognised_by_its_address(manager: DatasetManager, hub: Hub) -> None:
    row = article(3)
    manager.insert(columns([row]))
    again = newer(row, unique_id="outro-id", url=row["url"].replace("https", "http") + "/?utm_source=x", title="Novo")
    assert manager.resolve_ids(columns([again])) == {"outro-id": row["unique_id"]}
    outcome = manager.insert_rows(columns([again]), allow_update=True)
    assert (outcome.inserted, outcome.updated, dict(outcome.ids)) == (0, 1, {"outro-id": row["unique_id"]})
    (kept,) = hub.all_rows()
    assert (kept["unique_id"], kept["title"], kept["url"]) == (row["unique_id"], "Novo", again["url"])


def test_of_doubles_the_primary_is_the_one_that_is_updated(manager: DatasetManager, hub: Hub) -> None:
    first, second = article(3), newer(article(3), unique_id="segundo", published_at=article(40)["published_at"])
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([second, first])})
    manager.adopt()
    outcome = manager.insert_rows(columns([newer(first, hours=48, unique_id="x", title="Novo")]), allow_update=True)
    assert dict(outcome.ids) == {"x": first["unique_id"]}
    assert {row["unique_id"]: row["title"] for row in hub.all_rows()} == {
        first["unique_id"]: "Novo",
        "segundo": first["title"],
    }


def test_a_row_given_twice_is_one(manager: DatasetManager, hub: Hub) -> None:
    row = article(3)
    outcome = manager.insert_rows(columns([row, newer(row, title="Depois"), article(4)]), allow_update=True)
    assert (outcome.given, outcome.inserted, outcome.duplicates) == (3, 2, 1)
    assert by_id(hub.all_rows())[row["unique_id"]]["title"] == "Depois"


def test_a_changed_date_moves_a_row_to_its_month_in_one_commit(manager: DatasetManager, hub: Hub) -> None:
    rows = articles(3)
    manager.insert(columns(rows))
    moved = newer(rows[1], published_at=datetime(2025, 7, 2, tzinfo=BRASILIA))
    assert manager.insert(columns([moved]), allow_update=True) == 1
    assert {path: len(found) for path, found in hub.rows().items()} == {
        "data/train-2024-03.parquet": 2,
        "data/train-2025-07.parquet": 1,
    }
    assert len(hub.commits()) == 3
    assert hub.rows(REDUCED).keys() == hub.rows().keys()
    # The last row of a month takes the file with it.
    assert manager.update(frame([rows[1] | {"published_at": rows[1]["published_at"]}], "published_at")) == 1
    assert list(hub.rows()) == ["data/train-2024-03.parquet"]
    assert list(hub.rows(REDUCED)) == ["data/train-2024-03.parquet"]
    assert by_id(hub.all_rows()).keys() == by_id(rows).keys()


def test_days_at_the_edge_of_a_month_go_by_sao_paulo(manager: DatasetManager, hub: Hub) -> None:
    edge = [
        article(1, published_at=datetime(2024, 5, 1, 2, 59, 59, tzinfo=UTC)),
        article(2, published_at=datetime(2024, 5, 1, 3, 0, tzinfo=UTC)),
        article(3, published_at=datetime(2018, 12, 31, 23, 0, tzinfo=BRASILIA)),  # midnight in summer time
    ]
    manager.insert(columns(edge))
    assert sorted(hub.rows()) == [f"data/train-{month}.parquet" for month in ("2019-01", "2024-04", "2024-05")]


def test_rows_that_cannot_be_stored_are_kept_aside_and_the_rest_is_stored(make_manager: MAKE, hub: Hub) -> None:
    sink = Sink()
    rows = [article(1), article(2, title="No Title"), article(3, published_at="ontem"), article(4, unique_id=None)]
    outcome = make_manager(rejects=sink).insert_rows(columns(rows))
    assert (outcome.given, outcome.inserted, outcome.rejected) == (4, 1, 3)
    assert dict(outcome.rejected_by_reason) == {
        "title_missing": 1,
        "published_at_unreadable": 1,
        "unique_id_missing": 1,
    }
    assert [(origin, reject.reason) for origin, reject in sink.kept] == [
        ("insert", reason) for reason in ("title_missing", "published_at_unreadable", "unique_id_missing")
    ]
    assert [row["unique_id"] for row in hub.all_rows()] == [rows[0]["unique_id"]]


def test_without_a_sink_rejects_are_kept_with_the_run_ledger(manager: DatasetManager, hub: Hub) -> None:
    assert manager.insert(columns([article(1, title=None)])) == 0
    (kept,) = KeptRejects.of(hub.settings).kept()
    assert (kept["reason"], kept["origin"]) == ("title_missing", "insert")


def test_cleanings_are_applied_and_counted(manager: DatasetManager, hub: Hub) -> None:
    outcome = manager.insert_rows(columns([article(1, category="No Category", content="a\x00b", video_url="")]))
    assert outcome.cleanings == {"sentinel:category": 1, "nul_character:content": 1, "empty:video_url": 1}
    (row,) = hub.all_rows()
    assert (row["category"], row["content"], row["video_url"]) == (None, "ab", None)


@pytest.mark.parametrize("nothing", [{}, {name: [] for name in COLUMN_NAMES}])
def test_no_rows_is_no_request(nothing: dict[str, list[object]], manager: DatasetManager, hub: Hub) -> None:
    assert manager.insert(nothing) == 0
    assert manager.update(pd.DataFrame({"unique_id": []})) == 0
    assert hub.server.requests == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"unknown": ["x"]}, "'unknown'"),
        ({"title": ["a", "b"]}, "'title'"),
        ({"title": "text"}, "'title'"),
    ],
)
def test_a_malformed_call_names_the_column(change: dict[str, object], named: str, manager: DatasetManager) -> None:
    with pytest.raises(ValueError, match=named):
        manager.insert({**columns([article(1)]), **change})  # type: ignore[dict-item]


# ---------------------------------------------------------------------------------------------- update


def test_an_update_writes_what_is_given_and_nothing_else(manager: DatasetManager, hub: Hub) -> None:
    rows = articles(40)
    manager.insert(columns(rows))
    given = [row | {"summary": "Novo resumo", **theme_codes("05.02")} for row in (rows[1], rows[35])]
    names = [name for name in COLUMN_NAMES if name == "summary" or "theme" in name]
    outcome = manager.update_rows(frame(given, *names))
    assert (outcome.updated, outcome.unchanged) == (2, 0)
    expected = by_id(rows) | by_id(given)
    assert by_id(hub.all_rows()) == {uid: published(row) for uid, row in expected.items()}


def test_an_update_that_changes_nothing_makes_no_commit(manager: DatasetManager, hub: Hub) -> None:
    rows = articles(4)
    manager.insert(columns(rows))
    head = hub.head()
    outcome = manager.update_rows(frame(rows, "title", "summary", "tags", "extracted_at"))
    assert (outcome.affected, outcome.unchanged) == (0, 4)
    assert hub.head() == head


def test_a_null_is_written_and_an_absent_column_stays(manager: DatasetManager, hub: Hub) -> None:
    row = article(3)
    manager.insert(columns([row]))
    assert manager.update(pd.DataFrame({"unique_id": [row["unique_id"]], "summary": [None]})) == 1
    assert hub.all_rows() == [published(row | {"summary": None})]


def test_what_follows_from_a_theme_code_is_made_from_the_tree(make_manager: MAKE, hub: Hub) -> None:
    row = article(1, **NO_THEME)
    manager = make_manager()
    manager.insert(columns([row]))
    manager.update(pd.DataFrame({"unique_id": [row["unique_id"]], "theme_1_level_1_code": ["03"]}))
    (found,) = hub.all_rows()
    assert found["theme_1_level_1"] == "03 - Saúde"
    assert (found["theme_1_level_1_label"], found["most_specific_theme_code"]) == ("Saúde", "03")


def test_an_update_of_what_is_not_there_is_refused_by_row(make_manager: MAKE, hub: Hub) -> None:
    sink = Sink()
    manager = make_manager(rejects=sink)
    manager.insert(columns(articles(2)))
    given = [article(0, title="Novo"), article(99, title="Novo")]
    outcome = manager.update_rows(frame(given, "title"))
    assert (outcome.updated, dict(outcome.rejected_by_reason)) == (1, {"unique_id_unknown": 1})
    assert [reject.unique_id for _, reject in sink.kept] == [article(99)["unique_id"]]


# ---------------------------------------------------------------------------------------------- reading


def test_days_are_sao_paulo_days_both_ends_included(manager: DatasetManager, hub: Hub) -> None:
    rows = [
        article(1, published_at=datetime(2024, 5, 1, 2, 59, 59, tzinfo=UTC)),
        article(2, published_at=datetime(2024, 5, 1, 3, tzinfo=UTC)),
        article(3, published_at=datetime(2024, 6, 1, 2, 59, 59, 999_999, tzinfo=UTC)),
        article(4, published_at=datetime(2024, 6, 1, 3, tzinfo=UTC)),
    ]
    manager.insert(columns(rows))
    hub.server.requests.clear()
    found = manager.get("2024-05-01", "2024-05-31")
    assert list(found["unique_id"]) == [rows[1]["unique_id"], rows[2]["unique_id"]]
    assert not [request for request in hub.server.requests if "train-2024-04" in request or "2024-06" in request]
    assert list(manager.get("2024-05-01", "2024-05-31", agency=rows[1]["agency"])["unique_id"]) == [
        row["unique_id"] for row in rows[1:3] if row["agency"] == rows[1]["agency"]
    ]
    assert list(manager.get("2024-04-30", "2024-06-01")["unique_id"]) == [row["unique_id"] for row in rows]


def test_a_frame_has_the_columns_order_and_types_of_the_dataset(manager: DatasetManager) -> None:
    rows = articles(30)
    manager.insert(columns(rows))
    found = manager.get("2024-03-01", "2024-03-31")
    assert tuple(found.columns) == COLUMN_NAMES
    assert {name: str(found[name].dtype) for name in ("published_at", "extracted_at", "title")} == {
        "published_at": "datetime64[us, pytz.FixedOffset(-180)]",
        "extracted_at": "datetime64[ns]",
        "title": "object",
    }
    assert found["published_at"].is_monotonic_increasing
    nothing = manager.get("1990-01-01", "1990-01-02")
    assert (len(nothing), dict(nothing.dtypes)) == (0, dict(found.dtypes))


@pytest.mark.parametrize("days", [("2024-13-01", "2024-01-01"), ("2024-01-01", "hoje")])
def test_a_day_that_is_none_is_named(days: tuple[str, str], manager: DatasetManager) -> None:
    with pytest.raises(ValueError, match=r"m(in|ax)_date must be a day as YYYY-MM-DD"):
        manager.get(*days)


def test_rows_are_found_by_their_ids(manager: DatasetManager) -> None:
    rows = articles(70)
    manager.insert(columns(rows))
    wanted = [rows[1]["unique_id"], rows[69]["unique_id"], "nobody"]
    found = manager.get_by_unique_ids(wanted)
    assert found.schema == NORMAL_SCHEMA
    assert {row["unique_id"]: row["title"] for row in found.to_pylist()} == {
        row["unique_id"]: row["title"] for row in (rows[1], rows[69])
    }
    assert manager.get_by_unique_ids([]).num_rows == 0


# --------------------------------------------------------------------------------------- other people's


def test_other_files_and_keys_of_the_card_survive(manager: DatasetManager, hub: Hub) -> None:
    card = "---\nlicense: cc-by-4.0   # aberta\nsize_categories: [1K<n<10K]\n---\n\n# Título\n\ntexto\n"
    others = {"years/2024_news_dataset.csv": b"a,b\n", "data/notes.txt": b"x", "assets/logo.png": b"png"}
    stale = {"dataset_info.json": b"{}", "dataset_infos.json": b"{}"}
    hub.put({"README.md": card.encode(), **others, **stale})
    manager.insert(columns(articles(2)))
    assert {path: hub.content(path) for path in others} == others
    assert not stale.keys() & set(hub.files())
    after = hub.content("README.md").decode()
    assert "license: cc-by-4.0   # aberta\nsize_categories: [1K<n<10K]\n" in after
    assert after.endswith("---\n\n# Título\n\ntexto\n")
    assert set(yaml.safe_load(after.split("---\n")[1])) == {
        "license",
        "size_categories",
        "configs",
        "dataset_info",
    }


def test_a_card_that_is_right_is_not_sent_again(manager: DatasetManager, hub: Hub) -> None:
    manager.insert(columns(articles(2)))
    card = hub.store.files(DATASET, hub.head())["README.md"]
    manager.insert(columns([article(5)]))
    assert hub.store.files(DATASET, hub.head())["README.md"] == card
    commit = hub.server.requests
    assert len([request for request in commit if "validate-yaml" in request]) == 2  # of the first write, both datasets


def test_a_broken_card_is_named_and_nothing_is_written(manager: DatasetManager, hub: Hub) -> None:
    head = hub.put({"README.md": b"---\na: [1\n---\n"})
    with pytest.raises(StoreError, match=r"owner/govbrnews.*README\.md has no valid header") as caught:
        manager.insert(columns([article(1)]))
    assert "YAML" in caught.value.hint
    assert hub.head() == head


def test_a_month_in_other_types_is_named_and_nothing_is_written(manager: DatasetManager, hub: Hub) -> None:
    """FIELD_FACTS §8, 6 and 7: one file with text for dates broke the whole dataset."""
    import pyarrow as pa

    from data_platform.models.columns import PUBLISHED_SCHEMA

    schema = PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.string()))
    head = hub.put({"data/train-2026-01.parquet": parquet_bytes([article(1, published_at="x")], schema=schema)})
    with pytest.raises(StoreError, match="published_at is string"):
        manager.insert(columns([article(2)]))
    assert hub.head() == head


# ------------------------------------------------------------------------------------------ undated rows


def test_a_held_row_stays_until_it_comes_with_a_date(manager: DatasetManager, hub: Hub) -> None:
    held = [article(1, published_at=None), article(2, title=None), article(3, unique_id=None)]
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([*held, article(4)])})
    manager.insert(columns([article(5)]))
    assert sorted(str(row["unique_id"]) for row in hub.rows()[UNDATED]) == sorted(str(r["unique_id"]) for r in held)
    assert manager.insert(columns([article(1)])) == 1
    assert sorted(str(r["unique_id"]) for r in hub.rows()[UNDATED]) == sorted(str(r["unique_id"]) for r in held[1:])
    assert by_id(hub.rows()["data/train-2024-03.parquet"]).keys() == {article(n)["unique_id"] for n in (1, 4, 5)}
    assert len(hub.all_rows(REDUCED)) == len(hub.all_rows()) == 5
    assert len(manager.get("2024-03-01", "2024-03-31")) == 3  # the dated ones, as PostgreSQL would give


# -------------------------------------------------------------------------------------- the reduced one


def test_the_reduced_dataset_has_four_columns_of_every_row(manager: DatasetManager, hub: Hub) -> None:
    manager.insert(columns(articles(40)))
    names = ("published_at", "agency", "title", "url")
    assert hub.all_rows(REDUCED) == [{name: row[name] for name in names} for row in hub.all_rows()]
    assert f"derived from {hub.head()}" in hub.commits(REDUCED)[0]["title"]
    assert set(hub.files(REDUCED)) == {*hub.files(), "derived_from.json"}


def test_a_write_of_other_columns_moves_the_stamp_alone(manager: DatasetManager, hub: Hub) -> None:
    rows = articles(3)
    manager.insert(columns(rows))
    before = {path: hub.content(path, REDUCED) for path in hub.files(REDUCED)}
    manager.update(frame([rows[0] | {"summary": "novo"}], "summary"))
    assert f"derived from {hub.head()}" in hub.commits(REDUCED)[0]["title"]
    assert {p for p in before if before[p] != hub.content(p, REDUCED)} == {"derived_from.json"}


def test_a_reduced_dataset_that_is_behind_is_brought_up_by_the_next_write(
    make_manager: MAKE, manager: DatasetManager, hub: Hub
) -> None:
    manager.insert(columns(articles(40)))
    make_manager(reduced=None).insert(columns([article(50), article(5, unique_id="x", url=None)]))
    assert len(hub.all_rows(REDUCED)) == 40
    hub.server.requests.clear()
    assert manager.insert(columns([article(50)])) == 0  # changes nothing, and yet
    assert len(hub.all_rows(REDUCED)) == len(hub.all_rows()) == 42
    assert len([request for request in hub.server.requests if request.startswith("PUT")]) == 2  # two of its months


def test_a_legacy_reduced_dataset_is_made_anew(manager: DatasetManager, hub: Hub) -> None:
    schema = NORMAL_SCHEMA.empty_table().select(["published_at", "agency", "title", "url"]).schema
    old = [{name: article(1)[name] for name in schema.names}]
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes(old, schema=schema)}, dataset=REDUCED)
    manager.insert(columns(articles(2)))
    assert list(hub.rows(REDUCED)) == ["data/train-2024-03.parquet"]
    assert len(hub.all_rows(REDUCED)) == 2


def test_somebodys_edit_of_the_reduced_card_does_not_lose_the_stamp(manager: DatasetManager, hub: Hub) -> None:
    manager.insert(columns(articles(40)))
    card = hub.content("README.md", REDUCED) + b"\nmore words\n"
    hub.put({"README.md": card}, dataset=REDUCED)
    hub.server.requests.clear()
    manager.insert(columns(articles(1)))
    assert hub.content("README.md", REDUCED) == card
    assert not [request for request in hub.server.requests if request.startswith("PUT")]


def test_somebodys_data_in_the_reduced_dataset_is_made_good(manager: DatasetManager, hub: Hub) -> None:
    manager.insert(columns(articles(40)))
    right = hub.content("data/train-2024-03.parquet", REDUCED)
    hub.put({"data/train-2024-03.parquet": b"wrong", "data/train-x.parquet": b"more"}, dataset=REDUCED)
    manager.insert(columns(articles(1)))
    assert hub.content("data/train-2024-03.parquet", REDUCED) == right
    assert "data/train-x.parquet" not in hub.files(REDUCED)


def test_a_missing_reduced_dataset_is_told_before_anything_is_written(make_manager: MAKE, hub: Hub) -> None:
    head = hub.head()
    with pytest.raises(StoreError, match=r"owner/missing.*does not exist") as caught:
        make_manager(reduced="owner/missing").insert(columns([article(1)]))
    assert "hf repos create owner/missing" in caught.value.hint
    assert hub.head() == head


# ----------------------------------------------------------------------------------------- on purpose only


def test_the_default_dataset_is_not_written_by_accident(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(hf_endpoint=hub.server.url, hf_token="hf_some_token")
    with pytest.raises(ConfigurationError, match="set HF_DATASET"):
        DatasetManager(settings=settings).insert(columns([article(1)]))
    with pytest.raises(ConfigurationError, match="HF_TOKEN is not set"):
        DatasetManager(DATASET, settings=replace(settings, hf_token="")).insert(columns([article(1)]))
    assert hub.server.requests == []
    monkeypatch.setenv("HF_DATASET", Settings().hf_dataset)
    with pytest.raises(ConfigurationError, match="no longer valid"):  # now it is asked
        DatasetManager(settings=settings).insert(columns([article(1)]))


def test_the_reduced_dataset_is_the_one_of_this_dataset(hub: Hub) -> None:
    settings = replace(hub.settings, hf_reduced_dataset="owner/small")
    hub.store.create("owner/small")
    hub.store.create("owner/other")
    hub.store.create("owner/other-reduced")
    DatasetManager(settings=settings).insert(columns([article(1)]))
    assert len(hub.all_rows("owner/small")) == 1
    DatasetManager("owner/other", settings=settings).insert(columns([article(1)]))
    assert len(hub.all_rows("owner/other-reduced")) == 1


def test_extracted_at_is_kept_to_the_microsecond(manager: DatasetManager, hub: Hub) -> None:
    row = article(1, extracted_at=datetime(2025, 9, 1, 12, 0, 0, 123_456))  # noqa: DTZ001 - as published
    manager.insert(columns([row]))
    assert hub.all_rows()[0]["extracted_at"] == row["extracted_at"]
