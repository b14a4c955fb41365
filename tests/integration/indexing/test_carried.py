"""What others keep beside our documents comes along to a new collection: synonyms, overrides, fields of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from data_platform.errors import ConfigurationError, StoreError, StoreUnavailableError
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.typesense.index import TypesenseIndex
from dev.typesense_server import FailingDocument, Fault
from tests.support.hub import columns
from tests.support.search import ALIAS, LITTLE_PATIENCE, OTHERS, Search
from tests.support.sources import articles

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated on v30:DeprecationWarning")

SYNONYM = {"synonyms": ["sus", "saúde pública"]}
ONE_WAY = {"root": "vacina", "synonyms": ["imunizante"], "locale": "pt"}
OVERRIDE = {"rule": {"query": "enem", "match": "exact"}, "includes": [{"id": "a", "position": 1}]}


@pytest.fixture
def filled(search: Search, news: PostgresManager) -> Search:
    news.insert(columns(articles(12)))
    search.run("full")
    live = search.client.collections[ALIAS]
    live.synonyms.upsert("sus", SYNONYM)
    live.synonyms.upsert("vacina", ONE_WAY)
    live.overrides.upsert("enem", OVERRIDE)
    return search


def rules(search: Search, collection: str = ALIAS) -> Any:
    its = search.client.collections[collection]
    return its.synonyms.retrieve()["synonyms"], its.overrides.retrieve()["overrides"]


@pytest.fixture
def hit_count(filled: Search) -> str:
    """An article with a field of others."""
    uid = articles(12)[3]["unique_id"]
    live = filled.client.collections[filled.live()]
    live.update({"fields": [OTHERS]})
    live.documents[uid].update({"view_count": 7})
    return uid


def while_carried(monkeypatch: pytest.MonkeyPatch, search: Search, refused: dict[str, FailingDocument]) -> None:
    """Have documents refused from the moment on at which what others wrote is brought over."""
    real = TypesenseIndex.finish

    def finish(index: TypesenseIndex, collection: str) -> None:
        search.server.store.failing |= refused
        real(index, collection)

    monkeypatch.setattr(TypesenseIndex, "finish", finish)


def test_synonyms_and_overrides_come_along(filled: Search) -> None:
    old, before = filled.live(), rules(filled)
    assert [len(kind) for kind in before] == [2, 1]
    filled.run("full")
    assert filled.live() != old
    assert rules(filled) == before
    filled.client.collections[ALIAS].synonyms["vacina"].delete()
    filled.run("full")
    assert [len(kind) for kind in rules(filled)] == [1, 1], "one that was deleted is not brought back"


def test_a_rule_that_is_refused_is_named_and_the_old_collection_stays(filled: Search) -> None:
    old = filled.live()
    filled.server.faults = [Fault("PUT .*/overrides/enem", status=400, message="Missing rule")]
    with pytest.raises(StoreError, match=r"Missing rule.*overrides 'enem' of news_.* was not brought over"):
        filled.run("full")
    assert filled.live() == old
    filled.server.faults = []
    assert filled.run("full").resumed
    assert [len(kind) for kind in rules(filled)] == [2, 1]


def test_a_key_that_may_not_see_them_is_told_before_anything_is_filled(filled: Search) -> None:
    filled.server.faults = [Fault("GET .*/synonyms", status=401, message="Forbidden")]
    with pytest.raises(ConfigurationError, match="synonyms: access denied"):
        filled.run("full")
    assert len(filled.collections()) == 1


def test_a_service_that_has_them_elsewhere_has_none_to_bring(filled: Search) -> None:
    """From 30 on they are no part of a collection, and the addresses are not there."""
    filled.server.faults = [Fault("/(synonyms|overrides)$", status=404, message="Not Found")]
    old = filled.live()
    filled.run("full")
    assert filled.live() != old


@pytest.mark.parametrize("code", [503, 429, 500])
def test_a_field_of_others_that_is_refused_for_the_moment_is_sent_again(
    filled: Search, hit_count: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    while_carried(monkeypatch, filled, {hit_count: FailingDocument(code, "Not Ready or Lagging", 2)})
    filled.run("full")
    assert filled.documents()[hit_count]["view_count"] == 7


def test_one_that_stays_refused_is_worth_another_try(
    filled: Search, hit_count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = filled.live()
    while_carried(monkeypatch, filled, {hit_count: FailingDocument(503, "Not Ready or Lagging")})
    monkeypatch.setattr("tests.support.search.QUICK", replace(LITTLE_PATIENCE, tries=2))
    with pytest.raises(StoreUnavailableError, match=f"{hit_count}: 503: Not Ready or Lagging"):
        filled.run("full")
    assert filled.live() == old
    monkeypatch.undo()
    filled.server.store.failing.clear()
    assert filled.run("full").resumed
    assert filled.documents()[hit_count]["view_count"] == 7


def test_one_that_does_not_fit_is_to_be_mended(filled: Search, hit_count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    while_carried(monkeypatch, filled, {hit_count: FailingDocument(400, "must be an int32")})
    with pytest.raises(StoreError, match=r"do not fit.*must be an int32"):
        filled.run("full")
