"""One battery over every store and every mode: what goes in comes out, and the rules of writing hold everywhere."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_platform.models.columns import COLUMN_NAMES
from tests.support.faces import Face, as_columns, rows_of_frame
from tests.support.sources import BRASILIA, NO_THEME, article, articles, newer, theme_codes, theme_text

_LABEL = {"01": "Economia e Finanças", "05": "Meio Ambiente", "20": "Política e Governo"}


def test_what_goes_in_comes_out_in_every_column(face: Face) -> None:
    rows = articles(9)
    assert face.insert(*rows) == 9
    face.holds(*rows)


def test_nulls_stay_nulls(face: Face) -> None:
    bare = dict.fromkeys(COLUMN_NAMES) | {
        name: article(1)[name] for name in ("unique_id", "agency", "published_at", "title")
    }
    assert face.insert(bare, article(2)) == 2
    face.holds(bare, article(2))


def test_absent_columns_are_null(face: Face) -> None:
    few = {name: article(1)[name] for name in ("title", "published_at", "unique_id", "agency")}
    assert face.insert(few) == 1
    face.holds(dict.fromkeys(COLUMN_NAMES) | few)


def test_tags_of_every_kind(face: Face) -> None:
    kinds: list[Any] = [None, [], ["uma"], ["duas", "com, vírgula", "e “aspas”"], np.array(["n1", "n2"]), ("t",)]
    rows = [article(n, tags=tags) for n, tags in enumerate(kinds)]
    assert face.insert(*rows) == len(rows)
    face.holds(*(row | {"tags": None if row["tags"] is None else list(row["tags"])} for row in rows))


def test_a_repeated_insert_changes_nothing(face: Face) -> None:
    face.insert(*articles(4))
    before = face.versions()
    assert face.insert(*articles(4)) == 0
    assert face.insert(*articles(4), allow_update=True) == 0
    assert face.versions() == before


def test_an_article_that_is_there_stays_as_it_is(face: Face) -> None:
    face.insert(*articles(3))
    assert face.insert(newer(article(1), title="Outro"), article(3)) == 1
    face.holds(*articles(4))


def test_allow_update_brings_the_scrapers_columns(face: Face) -> None:
    """Faults 22, 23: a re-scrape never erases a theme or a summary."""
    face.insert(*articles(4))
    scraped = newer(
        article(3),
        title="Novo título",
        content=None,
        tags=["nova"],
        summary=None,
        **NO_THEME,
        image="https://x.br/i.png",
    )
    assert article(3)["summary"]
    assert face.insert(scraped, allow_update=True) == 1
    kept = {name: article(3)[name] for name in (*NO_THEME, "summary")}
    face.holds(*articles(3), scraped | kept)


def test_a_scrape_leaves_absent_columns_alone(face: Face) -> None:
    face.insert(article(3))
    few = {name: article(3)[name] for name in ("unique_id", "agency", "published_at")} | {"title": "Novo"}
    assert face.insert(few, allow_update=True) == 1
    face.holds(article(3, title="Novo"))


def test_a_cell_that_could_not_be_got_leaves_what_is_there(face: Face) -> None:
    """Fault 33: an article whose page failed keeps its text."""
    face.insert(article(3))
    scraped = newer(article(3), title="Novo", category="No Category", url="No URL")
    assert face.insert(scraped, allow_update=True) == 1
    face.holds(newer(article(3), title="Novo"))


def test_a_page_without_its_text_changes_nothing(face: Face) -> None:
    """It may be a firewall's page: what it lacks was not taken off the article."""
    face.insert(article(3))
    before = face.versions()
    bare = newer(article(3), content="Error retrieving content", image=None, tags=[], url="https://x.br/outra")
    assert face.insert(bare | {"title": "Novo"}, allow_update=True) == 0
    assert face.versions() == before
    face.holds(article(3))


def test_an_older_scrape_does_not_overwrite_a_newer_one(face: Face) -> None:
    face.insert(newer(article(1), title="Agora"))
    assert face.insert(article(1), allow_update=True) == 0
    face.holds(newer(article(1), title="Agora"))


def test_extracted_at_by_itself_is_no_difference(face: Face) -> None:
    face.insert(article(1))
    before = face.versions()
    assert face.insert(newer(article(1)), allow_update=True) == 0
    assert face.update({"unique_id": article(1)["unique_id"], "extracted_at": datetime(2026, 1, 1)}) == 0  # noqa: DTZ001
    assert face.versions() == before
    face.holds(article(1))


def test_an_article_is_found_by_its_address(face: Face) -> None:
    """Fault 3: a new id of an article that is there makes no second row."""
    face.insert(article(1))
    again = newer(
        article(1), unique_id="another", url=article(1)["url"].replace("https", "http") + "/?utm_source=x#topo"
    )
    assert face.insert(again) == 0
    face.holds(article(1))
    assert face.insert(again | {"title": "Novo"}, allow_update=True) == 1
    face.holds(again | {"unique_id": article(1)["unique_id"], "title": "Novo"})


def test_the_same_address_in_another_agency_is_another_article(face: Face) -> None:
    other = article(2, url=article(1)["url"])
    assert article(1)["agency"] != other["agency"]
    assert face.insert(article(1), other) == 2
    face.holds(article(1), other)


def test_rows_of_one_batch_that_are_one_article(face: Face) -> None:
    first = article(1, summary="Resumo")
    second = newer(article(1, summary=None), unique_id="z", title="Depois")
    assert face.insert(first, second, newer(article(1), hours=1, title="Antes")) == 1
    face.holds(first)


def test_of_one_article_in_one_batch_the_latest_scrape_wins_if_it_may(face: Face) -> None:
    first = article(1, summary="Resumo")
    second = newer(article(1, summary=None), unique_id="z", title="Depois")
    assert face.insert(first, second, newer(article(1), hours=1, title="Antes"), allow_update=True) == 1
    face.holds(second | {name: first[name] for name in ("unique_id", "summary", *NO_THEME)})


def test_the_account_adds_up(face: Face) -> None:
    face.insert(*articles(2))
    given = [article(0), article(5), article(5), article(6, title=None), newer(article(1), title="Novo")]
    outcome = face.store.insert_rows(as_columns(given), allow_update=True)
    assert outcome.counts == {"given": 5, "inserted": 1, "updated": 1, "unchanged": 1, "duplicates": 1, "rejected": 1}
    assert sorted(outcome.written) == sorted(article(n)["unique_id"] for n in (1, 5))


@pytest.mark.parametrize("instant", [
    datetime(2024, 3, 10, 0, 0, tzinfo=BRASILIA),
    datetime(2024, 3, 10, 23, 59, 59, 999999, tzinfo=BRASILIA),
    datetime(2018, 12, 24, 23, 0, tzinfo=BRASILIA),  # midnight of 25 December in summer time
    datetime(2018, 12, 25, 22, 59, 59, tzinfo=BRASILIA),
])  # fmt: skip
def test_days_are_sao_paulo_days(face: Face, instant: datetime) -> None:
    """Faults 5, 6: both ends of a day are in it, in summer time too."""
    day = date(2018, 12, 25) if instant.year == 2018 else date(2024, 3, 10)
    row = article(1, published_at=instant)
    face.insert(row)
    for first, last, found in ((0, 0, 1), (-1, 0, 1), (0, 1, 1), (-1, -1, 0), (1, 1, 0)):
        window = [(day + timedelta(days=days)).isoformat() for days in (first, last)]
        assert len(face.store.get(*window)) == found, window
        assert len(face.store.get(*window, agency=row["agency"])) == found
    assert len(face.store.get(day.isoformat(), day.isoformat(), agency="outra")) == 0


def test_a_frame_has_the_types_of_the_dataset(face: Face) -> None:
    face.insert(*articles(3))
    for frame in (face.store.get("2024-01-01", "2024-12-31"), face.store.get("1999-01-01", "1999-01-02")):
        assert tuple(frame.columns) == COLUMN_NAMES
        kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
        assert kinds["published_at"] == kinds["updated_datetime"] == "datetime64[us, pytz.FixedOffset(-180)]"
        assert kinds["extracted_at"] == "datetime64[ns]"
        assert {kinds[name] for name in COLUMN_NAMES if not name.endswith(("_at", "_datetime"))} == {"object"}
    whole = face.store.get("2024-01-01", "2024-12-31")
    keys = list(zip(whole["published_at"], whole["unique_id"], strict=True))
    assert keys == sorted(keys)


def test_an_update_writes_what_is_given_and_nothing_else(face: Face) -> None:
    face.insert(*articles(3))
    uid = article(1)["unique_id"]
    assert face.update({"unique_id": uid, "summary": "Novo resumo", "image": None}) == 1
    face.holds(article(0), article(1, summary="Novo resumo", image=None), article(2))


def test_an_update_that_changes_nothing_touches_nothing(face: Face) -> None:
    face.insert(*articles(3))
    before = face.versions()
    assert face.update(*articles(3)) == 0
    assert face.versions() == before


def test_themes_by_code(face: Face) -> None:
    """What follows from a code and is not given is made from the tree."""
    face.insert(article(1), article(2))
    uid = article(1)["unique_id"]
    codes = {f"theme_1_level_{level}_code": code for level, code in ((1, "01"), (2, "01.01"), (3, "01.01.02"))}
    assert face.update({"unique_id": uid} | codes) == 1
    face.holds(article(1, **theme_codes("01.01.02")), article(2))
    assert face.update({"unique_id": uid, **theme_codes("05.02"), "summary": "s"}) == 1
    face.holds(article(1, **theme_codes("05.02"), summary="s"), article(2))
    assert face.update({"unique_id": uid, **NO_THEME}) == 1
    face.holds(article(1, **NO_THEME, summary="s"), article(2))


def test_a_theme_that_the_tree_does_not_know_is_kept_as_it_is(face: Face) -> None:
    unknown = NO_THEME | {
        "theme_1_level_1": "77 - Nova", "theme_1_level_1_code": "77", "theme_1_level_1_label": "Nova",
        "most_specific_theme_code": "77", "most_specific_theme_label": "Nova",
    }  # fmt: skip
    face.insert(article(1))
    assert face.update({"unique_id": article(1)["unique_id"], **unknown}) == 1
    face.holds(article(1, **unknown))


def test_a_first_level_alone_keeps_its_form(face: Face) -> None:
    """Fault 42: always "NN - Label"; codes are not written into cells that were empty."""
    face.insert(article(1, **theme_text("05")))
    assert face.update({"unique_id": article(1)["unique_id"], "theme_1_level_1": _LABEL["20"]}) == 1
    face.holds(article(1, **theme_text("20")))


def test_an_update_moves_a_row_to_another_month(face: Face) -> None:
    face.insert(*articles(2))
    later = datetime(2025, 7, 1, 12, tzinfo=BRASILIA)
    assert face.update({"unique_id": article(1)["unique_id"], "published_at": later}) == 1
    face.holds(article(0), article(1, published_at=later))


def test_an_update_of_a_row_that_nobody_has_is_kept_as_a_reject(face: Face) -> None:
    face.insert(article(1))
    assert (
        face.update({"unique_id": "nobody", "summary": "s"}, {"unique_id": article(1)["unique_id"], "summary": "s"})
        == 1
    )
    face.holds(article(1, summary="s"))
    for kept in face.rejects.values():
        assert kept() == {("nobody", "unique_id_unknown")}


def test_of_two_updates_of_one_row_the_later_wins(face: Face) -> None:
    face.insert(article(1))
    uid = article(1)["unique_id"]
    assert face.update({"unique_id": uid, "summary": "um"}, {"unique_id": uid, "summary": "dois"}) == 1
    face.holds(article(1, summary="dois"))


def test_an_update_gives_an_article_another_address(face: Face) -> None:
    face.insert(*articles(2))
    assert face.update({"unique_id": article(0)["unique_id"], "url": "https://www.gov.br/mre/outra"}) == 1
    assert face.insert(article(9, agency="mre", url="https://www.gov.br/mre/outra/")) == 0
    face.holds(article(0, url="https://www.gov.br/mre/outra"), article(1))


def test_two_articles_that_change_places(face: Face) -> None:
    """Their addresses are exchanged in one call: no moment of it may break the rule of one primary."""
    first, second = article(0), article(3)
    assert first["agency"] == second["agency"]
    face.insert(first, second)
    swapped = [first | {"url": second["url"]}, second | {"url": first["url"]}]
    assert face.update(*({"unique_id": row["unique_id"], "url": row["url"]} for row in swapped)) == 2
    face.holds(*swapped)


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"unique_id": None}, "unique_id_missing"),
    ({"unique_id": float("nan")}, "unique_id_missing"),
    ({"unique_id": "x" * 121}, "unique_id_too_long"),
    ({"unique_id": 7}, "unique_id_unreadable"),
    ({"agency": ""}, "agency_missing"),
    ({"published_at": None}, "published_at_missing"),
    ({"published_at": pd.NaT}, "published_at_missing"),
    ({"published_at": "amanhã"}, "published_at_unreadable"),
    ({"published_at": 20240101}, "published_at_unreadable"),
    ({"title": "No Title"}, "title_missing"),
    ({"title": b"bytes"}, "title_unreadable"),
    ({"title": "\x00"}, "title_missing"),
]


@pytest.mark.parametrize(("cells", "reason"), BAD_ROWS)
def test_a_row_that_cannot_be_stored_is_kept_and_the_rest_is_stored(
    face: Face, cells: dict[str, Any], reason: str
) -> None:
    assert face.insert(article(1) | cells, article(2)) == 1
    face.holds(article(2))
    assert face.insert(article(1) | cells, article(2)) == 0  # a repeated call adds no second reject
    for kept in face.rejects.values():
        assert [why for _, why in kept()] == [reason]


def test_an_update_that_would_make_a_row_unfit_is_refused(face: Face) -> None:
    face.insert(article(1), article(2))
    one, two = article(1)["unique_id"], article(2)["unique_id"]
    bad = [{"unique_id": one, "title": None, "updated_datetime": None}]
    bad += [{"unique_id": two, "title": "Novo", "updated_datetime": "em breve"}]
    assert face.update(*bad) == 0
    face.holds(article(1), article(2))
    for kept in face.rejects.values():
        assert kept() == {(one, "title_missing"), (two, "updated_datetime_unreadable")}


def test_an_unknown_agency_is_taken(face: Face) -> None:
    """Fault 20."""
    assert face.insert(article(1, agency="nova-agencia"), article(2)) == 2
    face.holds(article(1, agency="nova-agencia"), article(2))


def test_values_of_numpy_and_pandas(face: Face) -> None:
    when = datetime(2024, 5, 6, 15, 30, 1, 250000, tzinfo=BRASILIA)
    odd = article(1) | {
        "published_at": pd.Timestamp(when),
        "updated_datetime": "2024-05-07T08:00:00-03:00",
        "extracted_at": np.datetime64("2025-09-01T12:00:00.000007000"),
        "title": np.str_("Título"),
        "subtitle": np.nan,
        "video_url": pd.NA,
        "summary": "nan",
        "content": "texto\x00 com nulo",
        "tags": "['a', 'b']",
    }
    assert face.insert(odd) == 1
    plain = {
        "published_at": when, "updated_datetime": datetime(2024, 5, 7, 11, tzinfo=UTC),
        "extracted_at": datetime(2025, 9, 1, 12, 0, 0, 7), "title": "Título", "subtitle": None,  # noqa: DTZ001
        "video_url": None, "summary": None, "content": "texto com nulo", "tags": ["a", "b"],
    }  # fmt: skip
    face.holds(article(1) | plain)


def test_a_time_without_a_zone_is_sao_paulos(face: Face) -> None:
    face.insert(article(1) | {"published_at": datetime(2018, 12, 25)})  # noqa: DTZ001 - that is the case
    face.holds(article(1, published_at=datetime(2018, 12, 25, 2, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"unique_id": ["a"], "agency": ["b"], "published_at": ["2024-01-01"]}, "'title' is missing"),
        ({**as_columns([article(1)]), "image_url": ["x"]}, "'image_url' is none of the dataset's"),
        ({**as_columns(articles(2)), "tags": [["a"]]}, "'tags' has 1 values"),
        ({**as_columns(articles(2)), "title": "ab"}, "'title' must be a list"),
    ],
)
def test_a_malformed_insert_is_refused_whole(face: Face, columns: dict[str, Any], said: str) -> None:
    before = face.versions()
    with pytest.raises(ValueError, match=said):
        face.store.insert(columns)
    assert face.versions() == before


def test_a_malformed_update_is_refused_whole(face: Face) -> None:
    face.insert(article(1))
    before = face.versions()
    for frame, said in (
        (pd.DataFrame({"summary": ["s"]}), "'unique_id' is missing"),
        (pd.DataFrame({"unique_id": ["a"], "image_url": ["x"]}), "'image_url' is none of the dataset's"),
        ({"unique_id": ["a"]}, "a DataFrame is wanted"),
    ):
        with pytest.raises(ValueError, match=said):
            face.store.update(frame)  # type: ignore[arg-type]
    assert face.versions() == before


def test_nothing_is_zero(face: Face) -> None:
    before = face.versions()
    assert face.store.insert({}) == 0
    assert face.store.insert({name: [] for name in COLUMN_NAMES}) == 0
    assert face.store.update(pd.DataFrame()) == 0
    assert face.store.update(pd.DataFrame({"unique_id": [], "summary": []})) == 0
    assert face.versions() == before


def test_an_index_may_carry_the_id(face: Face) -> None:
    face.insert(article(1))
    assert (
        face.store.update(pd.DataFrame({"summary": ["s"]}, index=pd.Index([article(1)["unique_id"]], name="unique_id")))
        == 1
    )
    face.holds(article(1, summary="s"))


def test_a_day_that_is_none_is_refused(face: Face) -> None:
    for window in (("ontem", "2024-01-01"), ("2024-01-01", "2024-02-30")):
        with pytest.raises(ValueError, match="must be a day as YYYY-MM-DD"):
            face.store.get(*window)


def test_rows_by_id(face: Face) -> None:
    face.insert(*articles(5))
    found = face.store.get_by_unique_ids([article(1)["unique_id"], "nobody", article(4)["unique_id"]])
    assert sorted(found.column("unique_id").to_pylist()) == sorted(article(n)["unique_id"] for n in (1, 4))
    assert found.column_names == list(COLUMN_NAMES)


def test_what_get_gives_can_be_given_back(face: Face) -> None:
    """A frame of one store is what another takes; nothing is lost on the way."""
    face.insert(*articles(6))
    before = face.versions()
    frame = face.store.get("2024-01-01", "2024-12-31")
    assert face.update(*frame.to_dict("records")) == 0
    assert face.store.insert({name: list(frame[name]) for name in frame}, allow_update=True) == 0
    assert face.versions() == before
    assert rows_of_frame(frame) == face.everything()
