"""How Typesense is asked: what is tried again and for how long, what is not, and that nothing is taken for granted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from data_platform.errors import ConfigurationError, StoreError, StoreUnavailableError
from data_platform.managers.hub.session import Backoff
from data_platform.managers.search_index import Card, generation_name, generations
from data_platform.managers.typesense import index as index_module
from data_platform.managers.typesense.answers import read_answer
from data_platform.managers.typesense.index import TypesenseIndex
from data_platform.managers.typesense.session import LaggingError
from data_platform.models.days import utc_now
from data_platform.settings import Settings
from dev.typesense_server import FailingDocument, Fault, TypesenseServer
from tests.support.hub import QUICK
from tests.support.rows import article, batch_of
from tests.support.search import LITTLE_PATIENCE, settings_of

NAME = generation_name("news", utc_now())
ROWS = batch_of([article(f"a{n}") for n in range(5)])


@pytest.fixture
def index(typesense_server: TypesenseServer) -> Iterator[TypesenseIndex]:
    """An index with an empty collection."""
    settings = replace(settings_of(typesense_server), typesense_batch_size=2)
    made = TypesenseIndex.of(settings, backoff=QUICK, patience=LITTLE_PATIENCE, answer_s=5)
    made.create(NAME, Card("postgres"))
    yield made
    made.close()


def ids(server: TypesenseServer) -> set[str]:
    return set(server.store.collections[NAME].documents)


def test_rows_go_in_imports_of_the_size_that_is_set(index: TypesenseIndex, typesense_server: TypesenseServer) -> None:
    assert index.write(NAME, ROWS).written == 5
    assert len(typesense_server.asked("POST .*import")) == 3
    assert index.count(NAME) == 5
    assert sorted(uid for piece in index.unique_ids(NAME) for uid in piece) == sorted(ids(typesense_server))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("import", status=500, times=2),
        Fault("import", status=502, times=2),
        Fault("import", drop=True, times=2),
        Fault("import", reset=True, times=2),
        Fault("import", drop=True, after=True, times=2),  # the work was done, the answer lost
        Fault("import", cut=30, after=True, times=2),
    ],
    ids=lambda fault: f"{fault.status or ''}{'drop' * fault.drop}{'reset' * fault.reset}{fault.cut or ''}",
)
def test_what_breaks_for_a_moment_is_tried_again(
    index: TypesenseIndex, typesense_server: TypesenseServer, fault: Fault
) -> None:
    typesense_server.faults.append(fault)
    done = index.write(NAME, ROWS)
    assert (done.written, done.failed) == (5, ())
    assert ids(typesense_server) == {f"a{n}" for n in range(5)}


def test_a_server_that_lags_is_given_time(typesense_server: TypesenseServer) -> None:
    """After 503 it is asked again, but after the pauses of the other patience."""
    settings = settings_of(typesense_server)
    impatient = Backoff(tries=1, first_s=0, most_s=0, total_s=1)
    index = TypesenseIndex.of(settings, backoff=impatient, patience=LITTLE_PATIENCE, answer_s=5)
    index.create(NAME, Card("postgres"))
    typesense_server.not_ready("writes", 3)
    assert index.write(NAME, ROWS).written == 5
    typesense_server.not_ready("writes", 100)
    with pytest.raises(LaggingError, match="503"):
        index.write(NAME, ROWS)
    index.close()


def test_documents_that_stay_refused_for_the_moment_are_told_as_such(
    index: TypesenseIndex, typesense_server: TypesenseServer
) -> None:
    typesense_server.store.failing |= {"a1": FailingDocument(503, "Not Ready"), "a3": FailingDocument(400, "bad")}
    done = index.write(NAME, ROWS)
    assert done.written == 3
    assert {one.unique_id: (one.reason, one.is_transient) for one in done.failed} == {
        "a1": ("503: Not Ready", True),
        "a3": ("400: bad", False),
    }
    assert len(typesense_server.asked("POST .*import")) == 3 + index_module._TRIES - 1


@pytest.mark.parametrize("answer", [b"", b'{"success":true}', b'{"success":true}\n{"success":tr', b"<html>\n<html>"])
def test_an_answer_that_is_not_whole_says_nothing(answer: bytes) -> None:
    with pytest.raises(StoreUnavailableError):
        read_answer("import", answer, ["a", "b"])


def test_a_final_line_end_is_no_line() -> None:
    assert read_answer("import", b'{"success":true}\n{"success": true, "id":"b"}\n', ["a", "b"]) == []


def test_a_line_may_say_that_there_is_no_room() -> None:
    line = b'{"code":422,"error":"Rejecting write: running out of resource type: OUT_OF_MEMORY","success":false}'
    with pytest.raises(StoreError, match="no memory or disk left"):
        read_answer("import", line, ["a"])


def test_a_key_that_may_not_write_is_said_at_once(typesense_server: TypesenseServer) -> None:
    index = TypesenseIndex.of(settings_of(typesense_server, typesense_api_key="segredo"), backoff=QUICK)
    with pytest.raises(ConfigurationError, match="access denied") as raised:
        index.live()
    assert "segredo" not in f"{raised.value}{raised.value.__cause__}"
    assert len(typesense_server.requests) == 1
    index.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(), "no Typesense is set"),
        (Settings(typesense_host="search.example.org"), "TYPESENSE_API_KEY is not set"),
        (Settings(typesense_host="127.0.0.1", typesense_api_key="chave\n"), "signs that no key has"),
        (Settings(typesense_host="127.0.0.1", typesense_collection="govbr_reindex"), "kept for the cards"),
    ],
)
def test_nothing_is_written_where_nobody_said_so(settings: Settings, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        TypesenseIndex.of(settings)


def test_a_server_that_is_not_there() -> None:
    settings = Settings(typesense_host="127.0.0.1", typesense_port=1)
    index = TypesenseIndex.of(settings, backoff=QUICK, patience=LITTLE_PATIENCE, answer_s=1)
    with pytest.raises(StoreUnavailableError, match="no answer"):
        index.live()
    index.close()


def test_the_alias_and_what_it_shows(index: TypesenseIndex, typesense_server: TypesenseServer) -> None:
    assert index.live() is None
    with pytest.raises(StoreError, match="there is no collection"):
        index.point("news_nowhere")
    index.point(NAME)
    assert (index.live(), list(index.collections())) == (NAME, [NAME])
    with pytest.raises(StoreError, match="what searches see"):
        index.drop(NAME)
    with pytest.raises(StoreError, match="what searches see"):
        index.drop("news")  # by the alias's name the service would drop the live one
    assert NAME in typesense_server.store.collections
    typesense_server.store.aliases["news"] = "news_nowhere"
    assert index.live() is None


def test_a_collection_made_though_the_answer_was_lost(index: TypesenseIndex, typesense_server: TypesenseServer) -> None:
    typesense_server.faults.append(Fault("POST /collections$", drop=True, after=True, times=1))
    name = generation_name("news", utc_now())
    index.create(name, Card("postgres", facts={"a": "é"}))
    assert index.card(name) == Card("postgres", facts={"a": "é"})
    assert index.count(name) == 0


def test_differences_are_told_by_field(index: TypesenseIndex, typesense_server: TypesenseServer) -> None:
    index.write(NAME, ROWS)
    documents = typesense_server.store.collections[NAME].documents
    documents["a1"] = documents["a1"] | {"summary": "stale"}
    documents["a2"] = documents["a2"] | {"view_count": 3}  # of others
    del documents["a3"]
    assert index.differing(NAME, ROWS) == {"a1": "summary is 'stale', not None", "a3": "it is not there"}


def test_names_of_collections_tell_their_order_and_whose_they_are() -> None:
    other = generation_name("news_old", utc_now())
    assert generations("news", [other, "news", NAME, "news_x", "news_20240101"]) == [NAME]
