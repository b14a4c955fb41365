"""Enriching through Cogfy, over HTTP: uploads, readiness, paging, and the faults of the field (38 to 42)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from data_platform.errors import ConfigurationError
from data_platform.jobs.enrichment.interface import Enrichment, Progress, ticket_of
from data_platform.jobs.enrichment.problems import EnricherError, EnricherUnavailableError, RequestRefusedError
from data_platform.models.columns import COLUMNS, Owner
from data_platform.settings import Settings
from dev.cogfy_server import Answer, CogfyServer, Fault
from tests.support.enrichment import ANSWER, DAY, KEY, NAME, Cogfy, cogfy, row, rows

QUERY = r"POST .*/records/query$"
CREATE = r"POST .*/records$"


def ids(listed: Any) -> list[str]:
    return sorted(item.unique_id for item in listed)


def queries(server: CogfyServer) -> list[tuple[int, int]]:
    return [(body["pageNumber"], body["pageSize"]) for body in server.asked(QUERY)]


# ------------------------------------------------------------------------------------------------- the good way


def test_rows_are_uploaded_and_their_cells_read_when_they_are_filled(there: Cogfy) -> None:
    """Fault 39: readiness is read from the cells."""
    there.store.ready_after_looks = 2
    enricher = there.enricher()
    given = rows(5)
    progress = enricher.submit(given)
    assert ids(progress.pending) == [one["unique_id"] for one in given]
    assert there.uploaded() == [one["unique_id"] for one in given]
    for _ in range(2):
        progress = progress.followed_by(enricher.collect(progress.pending))
        assert (len(progress.ready), len(progress.pending)) == (0, 5)
    progress = progress.followed_by(enricher.collect(progress.pending))
    assert progress.ready[0] == Enrichment(
        unique_id="r0000",
        theme_code="01.01.02",
        summary=ANSWER.summary,
        enricher="cogfy",
        version=f"collection {NAME}",
    )
    assert len(progress.ready) == 5
    assert progress.pending == progress.failed == ()


def test_what_is_uploaded_has_the_types_of_the_collection_and_real_utc(there: Cogfy) -> None:
    there.store.create_field(there.collection, "category", "select", options=["Saúde"])
    published = datetime.fromisoformat("2026-02-10T22:30:00-03:00")
    one = row("a", published_at=published, category="Saúde", subtitle="", image=None, tags=["um", "dois"])
    there.enricher().submit([one])
    uploaded = there.collection.uploaded()[0]
    assert uploaded["published_at"] == "2026-02-11T01:30:00Z"
    assert uploaded["tags"] == "['um', 'dois']"
    assert uploaded["title"] == "Notícia a"
    assert set(uploaded) == {"unique_id", "agency", "published_at", "title", "content", "tags", "url"}
    types = {made["name"]: made["type"] for made in there.collection.fields.values()}
    for column in COLUMNS:
        if column.owner is not Owner.ENRICHMENT and column.name != "category":
            assert types[column.name] == ("date" if column.kind == "instant" else "text")
    assert len(types) == len(there.collection.fields), "no name stands twice"


def test_a_collection_whose_dates_are_texts_gets_texts() -> None:
    with cogfy(types={"published_at": "text", "extracted_at": "text"}) as there:
        enricher = there.enricher()
        assert len(enricher.submit(rows(4)).pending) == 4
        assert there.collection.uploaded()[0]["published_at"] == "2026-02-10T15:00:00Z"
        assert len(enricher.collect([ticket_of(one) for one in rows(4)]).ready) == 4


def test_every_filter_is_wrapped_and_days_are_those_of_sao_paulo(there: Cogfy) -> None:
    """A row of 23:30 in São Paulo is of that day, though it is the next one in UTC."""
    late = datetime(2026, 2, 11, 2, 30, tzinfo=UTC)
    there.enricher().submit([row("a"), row("b"), row("c", published_at=late)])
    wrapped = [body["filter"] for body in there.server.asked(QUERY)]
    assert {body["type"] for body in wrapped} == {"and"}
    window = wrapped[0]["and"]["filters"]
    assert [one[one["type"]]["value"] for one in window] == ["2026-02-10T03:00:00Z", "2026-02-11T02:59:59Z"]


@pytest.mark.parametrize("label_in_cell", [False, True])
def test_a_select_is_read_by_its_label_or_by_its_option(there: Cogfy, label_in_cell: bool) -> None:
    there.store.label_in_cell = label_in_cell
    there.answers["a"] = Answer(level_1="09 - Esportes e Lazer", level_2="09.05 - x", level_3="?", summary="S.")
    enricher = there.enricher()
    found = enricher.collect(enricher.submit([row("a")]).pending).ready[0]
    assert (found.theme_code, found.notes) == ("09.05", ("level_3_no_code",))


def test_an_option_that_was_added_later_is_found(there: Cogfy) -> None:
    enricher = there.enricher()
    pending = enricher.submit([row("a")]).pending
    select = there.collection.field_named("theme_1_level_1")
    select["data"]["select"]["options"].append({"id": "new-option", "label": "22 - Eventos Oficiais e Cerimônias"})
    there.answers["a"] = Answer(level_1="22 - Eventos Oficiais e Cerimônias", level_2="-", level_3="-", summary="S.")
    assert enricher.collect(pending).ready[0].theme_code == "22"


# --------------------------------------------------------------------------------------------- once, whatever happens


def test_nothing_is_uploaded_twice(there: Cogfy) -> None:
    """Fault 38: a second run, with more than a page of rows there."""
    given = rows(60)
    sizes = (25, 5)
    there.enricher(sizes=sizes).submit(given)
    assert len(there.enricher(sizes=sizes).submit([*given, row("new")]).ready) == 60
    assert sorted(there.uploaded()) == sorted([*(one["unique_id"] for one in given), "new"])
    assert {number for number, size in queries(there.server) if size == 25} == {0, 1, 2}


def test_a_row_that_lies_under_another_date_is_found(there: Cogfy) -> None:
    """Before December 2025 local hours went as UTC, and editors change dates."""
    given = rows(5)
    there.put({"unique_id": "r0002", "published_at": DAY - timedelta(days=40)})
    progress = there.enricher().submit(given)
    assert ids(progress.ready) == ["r0002"]
    assert there.uploaded().count("r0002") == 1


def test_a_look_up_that_fails_is_an_error_and_nothing_is_uploaded(there: Cogfy) -> None:
    """Fault 38: a prefetch that failed was taken for "nothing there"."""
    there.enricher().submit(rows(3))
    there.server.faults = [Fault(QUERY, status=500)]
    with pytest.raises(EnricherUnavailableError, match="500"):
        there.enricher().submit(rows(5))
    assert len(there.uploaded()) == 3
    there.server.faults = [Fault(QUERY, cut=40)]
    with pytest.raises(EnricherUnavailableError, match=r"no answer|no JSON"):
        there.enricher().submit(rows(5))
    assert len(there.uploaded()) == 3


def test_an_answer_that_was_lost_makes_no_second_record(there: Cogfy) -> None:
    there.server.faults = [
        Fault(CREATE, drop=True, after=True, times=1),
        Fault(CREATE, status=504, after=True, times=1),
    ]
    progress = there.enricher().submit(rows(4))
    assert len(progress.pending) == 4
    assert sorted(there.uploaded()) == [one["unique_id"] for one in rows(4)]


def test_of_several_records_the_one_that_says_most_is_read(there: Cogfy) -> None:
    for _ in range(3):
        there.put(row("a"))
    said = iter([Answer(), ANSWER, Answer(level_1=ANSWER.level_1)])
    there.store.answers = lambda _: next(said)
    assert there.enricher().submit([row("a")]).ready[0].theme_code == "01.01.02"


# ---------------------------------------------------------------------------------------------- what models write


@pytest.mark.parametrize(
    ("answer", "code", "notes"),
    [
        (
            Answer(level_1="01 - Economia e Finanças", level_2="01.77 - x", level_3="01.77.01 - x"),
            "01",
            "level_2_unknown",
        ),
        (Answer(level_1="01 - Economia e Finanças", level_2="Não se aplica", level_3="-"), "01", "level_2_no_code"),
        (
            Answer(level_1="01 - Economia e Finanças", level_2="01.01 - x", level_3="09.05.02 - x"),
            "01.01",
            "level_3_not_below_level_2",
        ),
    ],
)
def test_text_of_a_model_is_no_code_until_the_tree_says_so(there: Cogfy, answer: Answer, code: str, notes: str) -> None:
    """Fault 41."""
    there.answers["a"] = Answer(
        level_1=answer.level_1, level_2=answer.level_2, level_3=answer.level_3, summary="Resumo."
    )
    enricher = there.enricher()
    found = enricher.collect(enricher.submit([row("a")]).pending).ready[0]
    assert (found.theme_code, found.notes, found.summary) == (code, (notes,), "Resumo.")


def test_a_row_is_not_ready_before_its_last_cell_is_unless_nobody_waits_longer(there: Cogfy) -> None:
    there.store.part_by_part = True
    there.answers["short"] = Answer(level_1="22 - Eventos Oficiais e Cerimônias", summary="Resumo curto.")
    enricher = there.enricher()
    progress = enricher.submit([row("a"), row("short")])
    for looks in range(1, 5):
        progress = progress.followed_by(enricher.collect(progress.pending))
        assert ids(progress.ready) == (["a"] if looks == 4 else [])
    assert ids(progress.pending) == ["short"], "its lower levels may still come"
    progress = progress.followed_by(enricher.collect(progress.pending, final=True))
    found = {item.unique_id: item for item in progress.ready}
    assert (found["short"].theme_code, found["short"].summary) == ("22", "Resumo curto.")


def test_nothing_at_all_stays_pending_at_the_end_too(there: Cogfy) -> None:
    there.answers["a"] = Answer(level_2="01.01 - só o segundo")
    enricher = there.enricher()
    pending = enricher.submit([row("a")]).pending
    assert ids(enricher.collect(pending, final=True).pending) == ["a"]


def test_a_row_with_no_valid_theme_and_no_summary_fails_with_what_was_written(there: Cogfy) -> None:
    select = there.collection.field_named("theme_1_level_1")
    select["data"]["select"]["options"].append({"id": "odd", "label": "99 - Fora da árvore"})
    there.answers["a"] = Answer(level_1="99 - Fora da árvore")
    enricher = there.enricher()
    failed = enricher.collect(enricher.submit([row("a")]).pending, final=True).failed
    assert [(one.reason, one.detail) for one in failed] == [("no_valid_theme", "99 - Fora da árvore")]


def test_a_record_that_is_gone_is_told(there: Cogfy) -> None:
    enricher = there.enricher()
    pending = enricher.submit(rows(4)).pending
    del there.collection.records[0]
    done = enricher.collect(pending)
    assert [(one.unique_id, one.reason) for one in done.failed] == [("r0000", "not_in_collection")]
    assert len(done.ready) == 3


# ------------------------------------------------------------------------------------------------- the gateway


def test_large_pages_and_wide_windows_are_made_smaller(there: Cogfy) -> None:
    given = [row(f"r{n:03}", published_at=DAY + timedelta(minutes=7 * n)) for n in range(60)]
    enricher = there.enricher(sizes=(100, 20, 10))
    pending = enricher.submit(given).pending
    there.server.most_page = 20
    assert len(there.enricher(sizes=(100, 20, 10)).collect(pending).ready) == 60
    there.server.most_window = timedelta(hours=4)
    assert len(there.enricher(sizes=(100, 20, 10)).collect(pending).ready) == 60
    there.server.most_page, there.server.own_page = None, 7
    assert len(there.enricher(sizes=(100, 20, 10)).collect(pending).ready) == 60


def test_a_gateway_that_is_down_for_a_moment_is_asked_again(there: Cogfy) -> None:
    there.server.faults = [Fault("collections", status=status, times=1) for status in (502, 429, 503)]
    enricher = there.enricher()
    assert len(enricher.collect(enricher.submit(rows(3)).pending).ready) == 3


def test_a_gateway_that_stays_down_is_not_asked_for_ever(there: Cogfy) -> None:
    pending = there.enricher().submit([row(f"d{day}", days=-day) for day in range(9)]).pending
    before = len(there.server.requests)
    there.server.faults = [Fault(QUERY, status=504)]
    with pytest.raises(EnricherUnavailableError, match="504"):
        there.enricher().collect(pending)
    assert len(there.server.requests) - before < 40


def test_a_day_that_does_not_answer_does_not_stop_the_others(there: Cogfy) -> None:
    """Fault 40."""
    enricher = there.enricher()
    days = [row(f"{name}{day}", days=-day) for day in range(3) for name in "abcd"]
    pending = enricher.submit(days).pending
    assert len(pending) == 12

    def only_that_day(_: Any, __: str) -> Fault | None:
        return Fault("", status=504) if "2026-02-09T03:00:00Z" in str(there.server.bodies[-1]) else None

    there.server.fault_plan.strike = only_that_day  # type: ignore[method-assign]
    done = enricher.collect(pending)
    assert ids(done.ready) == sorted(f"{name}{day}" for day in (0, 2) for name in "abcd")
    assert ids(done.pending) == ["a1", "b1", "c1", "d1"]
    assert len(done.problems) == 1
    assert done.problems[0].startswith("2026-02-09: ")

    more = [row(f"new{day}{n}", days=-day) for day in range(3) for n in range(3)]
    handed = enricher.submit(more)
    assert ids(handed.pending) == sorted(f"new{day}{n}" for day in (0, 2) for n in range(3))
    assert {one.reason for one in handed.failed} == {"service_unavailable"}
    assert ids(handed.failed) == ["new10", "new11", "new12"]


# --------------------------------------------------------------------------------------------- errors by their type


def test_a_wrong_key_is_asked_once_and_not_told(there: Cogfy) -> None:
    settings = replace(there.settings, cogfy_api_key="a-wrong-secret-key")
    with pytest.raises(ConfigurationError, match="COGFY_API_KEY is not valid") as caught:
        there.enricher(settings).submit([row("a")])
    assert "a-wrong-secret-key" not in str(caught.value)
    assert len(there.server.requests) == 1
    there.server.faults = [Fault("collections", status=403)]
    with pytest.raises(ConfigurationError, match="403"):
        there.enricher().submit([row("a")])
    assert len(there.server.requests) == 2


def test_a_key_with_a_newline_works_once_it_is_read_from_the_environment(there: Cogfy) -> None:
    """Fault 59."""
    environment = {
        "COGFY_API_KEY": f"{KEY}\n",
        "COGFY_SERVER_URL": f" {there.server.url.rstrip('/')}\n",
        "COGFY_COLLECTION_NAME": f"{NAME} ",
    }
    assert there.enricher(Settings.from_environment(environment)).submit([row("a")]).pending
    with pytest.raises(ConfigurationError, match="signs that no key has"):
        there.enricher(
            Settings(cogfy_api_key="k\n", cogfy_server_url=there.server.url, cogfy_collection_name=NAME)
        ).submit([row("a")])


def test_rows_that_are_refused_at_once_stop_the_upload_and_a_single_one_does_not(there: Cogfy) -> None:
    """400 is fatal where it is the collection's types, and a row's own failure where others are taken."""
    there.server.faults = [Fault(CREATE, status=400)]
    with pytest.raises(RequestRefusedError, match="planted by a test"):
        there.enricher().submit(rows(50))
    assert len(there.server.asked(CREATE)) == 3, "asked neither again nor for ever"
    there.server.faults = [Fault(CREATE, status=400, times=1, skip=2)]
    progress = there.enricher().submit(rows(5))
    assert [(one.unique_id, one.reason) for one in progress.failed] == [("r0002", "refused")]
    assert len(progress.pending) == 4


def test_a_query_that_is_refused_is_fatal(there: Cogfy) -> None:
    there.server.faults = [Fault(QUERY, status=400)]
    with pytest.raises(RequestRefusedError):
        there.enricher().submit(rows(5))
    assert len(there.server.asked(QUERY)) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"cogfy_collection_name": "other"}, "no collection is called 'other'"),
        ({"cogfy_collection_name": ""}, "no collection of Cogfy is named"),
        ({"cogfy_collection_id": "00000000-0000-0000-0000-000000000000"}, "no such collection"),
        ({"cogfy_server_url": "127.0.0.1"}, "COGFY_SERVER_URL"),
        ({"cogfy_server_url": "ftp://127.0.0.1/"}, "COGFY_SERVER_URL"),
    ],
)
def test_what_is_set_wrong_is_named(there: Cogfy, changed: dict[str, str], words: str) -> None:
    with pytest.raises((ConfigurationError, EnricherError), match=words):
        there.enricher(replace(there.settings, **changed)).submit([row("a")])


def test_the_collection_is_found_behind_a_hundred_others_by_name_and_by_id(there: Cogfy) -> None:
    there.store.collections = {
        **{str(n): there.store.create_collection(f"c{n}", options=[]) for n in range(150)},
        there.collection.id: there.collection,
    }
    assert there.enricher().submit([row("a")]).pending
    by_id = replace(there.settings, cogfy_collection_name="c3", cogfy_collection_id=there.collection.id)
    assert there.enricher(by_id).submit([row("a")]).ready
    there.store.create_collection(NAME, options=[])
    with pytest.raises(ConfigurationError, match="2 collections are called"):
        there.enricher().submit([row("a")])


def test_a_collection_without_its_cells_is_refused() -> None:
    with cogfy() as there:
        bare = there.store.create_collection("bare", options=[], computed=False)
        with pytest.raises(ConfigurationError, match="no field theme_1_level_1 and no field summary"):
            there.enricher(replace(there.settings, cogfy_collection_id=bare.id)).submit([row("a")])


def test_nothing_is_asked_for_nothing(there: Cogfy) -> None:
    assert there.enricher().submit([]) == Progress()
    assert there.enricher().collect([]) == Progress()
    assert there.server.requests == []
