"""What others do to the published dataset between two syncs: it is noticed, named, and not overwritten unasked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from data_platform.errors import DataPlatformError, IntegrityError, SourceError, StoreUnavailableError
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub import repository
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.columns import PUBLISHED_SCHEMA
from dev.hub_server.exchange import Exchange, json_answer
from tests.support.hub import DATASET, QUICK, REDUCED, Hub, columns, parquet_bytes
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, at_failpoint, checked, on_the_hub, position, said_by_the_hub

ROWS = articles(6)
MARCH = "data/train-2024-03.parquet"
CARD = b"---\nlicense: mit\ntags:\n- gov\n---\n# Da casa\n"


@pytest.fixture
def synced(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> Hub:
    """A Hub that is in step, with something new in PostgreSQL."""
    news.insert(columns(ROWS))
    checked(make_job(), hub, store)
    news.insert(columns([article(70)]))
    return hub


def refused(job: object, hub: Hub, store: Store, match: str) -> DataPlatformError:
    """See a sync refuse and leave everything as it is."""
    before = said_by_the_hub(hub), position(store)
    with pytest.raises(IntegrityError, match=match) as caught:
        job.run()  # type: ignore[attr-defined]
    assert (said_by_the_hub(hub), position(store)) == before
    assert "--overwrite" in caught.value.hint
    return caught.value


def _squash(hub: Hub) -> None:
    """Make one commit of the history, as `super_squash_history` does: the old ones are gone."""
    repo, files = hub.store.repo(DATASET), hub.store.files(DATASET, hub.head())
    assert repo is not None
    commits = list((hub.store.root / "datasets" / DATASET / "commits").glob("*.json"))
    title = "Super-squash branch 'main' using huggingface_hub"
    hub.store._apply(DATASET, {**repo, "refs": {}}, "main", files, title=title, message="", author="tester")
    for commit in commits:
        commit.unlink()


def foreign_file(hub: Hub) -> None:
    hub.put({"data/train-extra.parquet": parquet_bytes([article(80)])})


def foreign_month(hub: Hub) -> None:
    hub.put({"data/train-2031-01.parquet": parquet_bytes([article(80)])})


def changed_month(hub: Hub) -> None:
    hub.put({MARCH: parquet_bytes(ROWS[:5])})


def changed_month_of_other_types(hub: Hub) -> None:
    """As the peer did it: dates as strings."""
    strings = PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.string()))
    hub.put({MARCH: parquet_bytes([r | {"published_at": r["published_at"].isoformat()} for r in ROWS], schema=strings)})


def removed_month(hub: Hub) -> None:
    hub.store.commit(DATASET, {}, delete=[MARCH])


def reverted(hub: Hub) -> None:
    """Back to before the sync, in a commit of their own, as the button on the Hub does it."""
    hub.store.commit(DATASET, {}, delete=[MARCH], title="Revert 'Sync: 2024-03'")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (foreign_file, "data/train-extra.parquet"),
        (foreign_month, "data/train-2031-01.parquet"),
        (changed_month, MARCH),
        (changed_month_of_other_types, MARCH),
        (removed_month, MARCH),
        (reverted, MARCH),
    ],
)
def test_data_that_others_changed_is_not_overwritten_unless_told(
    synced: Hub, store: Store, make_job: Jobs, change: Callable[[Hub], None], named: str
) -> None:
    change(synced)
    error = refused(make_job(), synced, store, "somebody else changed data files since the last sync")
    assert named in error.message
    refused(make_job(full=True), synced, store, "somebody else changed data files")
    told = make_job(dry_run=True).run()
    assert told.reason == "others changed the dataset since the last sync"
    assert told.account is not None
    checked(make_job(overwrite=True), synced, store)
    assert (named in synced.files()) == (named == MARCH)
    assert checked(make_job(), synced, store).reason == ""


def test_single_months_are_not_published_over_foreign_changes(synced: Hub, store: Store, make_job: Jobs) -> None:
    foreign_file(synced)
    before = said_by_the_hub(synced), position(store)
    with pytest.raises(IntegrityError, match="single months cannot be published: others changed") as caught:
        make_job(months=("2024-03",)).run()
    assert "whole sync" in caught.value.hint
    assert (said_by_the_hub(synced), position(store)) == before


def test_a_change_of_others_is_found_however_many_commits_followed(synced: Hub, store: Store, make_job: Jobs) -> None:
    """The stamp of the last sync has left the first page of the history."""
    synced.server.page_size = 5
    changed_month(synced)
    for number in range(12):
        synced.put({"README.md": CARD + str(number).encode()})
    asked = len(synced.server.requests)
    error = refused(make_job(), synced, store, "somebody else changed data files since the last sync")
    assert MARCH in error.message
    assert sum("/tree/" in request for request in synced.server.requests[asked:]) < 12  # not one for each commit
    checked(make_job(overwrite=True), synced, store)


def test_a_stamp_beyond_the_first_page_of_the_history_still_counts(synced: Hub, store: Store, make_job: Jobs) -> None:
    synced.server.page_size = 5
    for number in range(12):
        synced.put({"README.md": CARD + str(number).encode()})
    assert checked(make_job(), synced, store).reason == ""


def test_the_search_for_a_stamp_has_an_end(
    synced: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stamp that nobody found is a lost one: everything is accounted for, and what others changed is refused."""
    monkeypatch.setattr(repository, "_MOST_HISTORY", 10)
    synced.server.page_size = 5
    changed = [row | {"title": "corrigido por alguém"} for row in ROWS]
    synced.put({MARCH: parquet_bytes(changed)})
    for number in range(12):
        synced.put({"README.md": CARD + str(number).encode()})
    asked = len(synced.server.requests)
    with pytest.raises(IntegrityError, match="6 published rows have other cells than PostgreSQL"):
        make_job().run()
    assert sum("/commits/" in request for request in synced.server.requests[asked:]) == 2


def test_a_history_that_is_none_is_an_error_worth_another_try(
    synced: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub answers 200, with an error inside."""
    page = Exchange.page

    def failing(x: Exchange, items: list[dict[str, Any]]) -> Any:
        return json_answer({"error": "internal"}) if "/commits/" in x.path else page(x, items)

    monkeypatch.setattr(Exchange, "page", failing)
    before = said_by_the_hub(synced), position(store)
    with pytest.raises(StoreUnavailableError, match="reading its history: the answer is no list"):
        make_job().run()
    assert (said_by_the_hub(synced), position(store)) == before


def test_a_foreign_file_that_cannot_be_read_is_named_and_can_be_let_go(
    synced: Hub, store: Store, make_job: Jobs
) -> None:
    synced.put({"data/train-notes.parquet": b"no parquet"})
    before = said_by_the_hub(synced), position(store)
    for options in ({}, {"full": True, "overwrite": True}):
        with pytest.raises(
            SourceError, match=rf"'{DATASET}' on {synced.server.url}: data/train-notes\.parquet "
        ) as caught:
            make_job(**options).run()
        assert "delete the file on the Hub" in caught.value.hint
        assert "/tmp" not in str(caught.value)
    assert (said_by_the_hub(synced), position(store)) == before
    synced.store.commit(DATASET, {}, delete=["data/train-notes.parquet"])
    checked(make_job(), synced, store)


def test_a_change_that_others_took_back_is_none(synced: Hub, store: Store, make_job: Jobs) -> None:
    foreign_file(synced)
    synced.store.commit(DATASET, {}, delete=["data/train-extra.parquet"])
    assert checked(make_job(), synced, store).reason == ""


def test_the_card_that_others_edit_is_kept(synced: Hub, store: Store, make_job: Jobs) -> None:
    synced.put({"README.md": CARD, "notes/why.md": b"because"})
    assert checked(make_job(), synced, store).reason == ""
    card = synced.content("README.md").decode()
    assert card.startswith("---\nlicense: mit\ntags:\n- gov\n")
    assert card.endswith("# Da casa\n")
    assert "path: data/train-*" in card
    assert synced.content("notes/why.md") == b"because"
    synced.put({"README.md": CARD})
    checked(make_job(), synced, store)  # nothing changed in PostgreSQL: nobody's card is touched
    assert synced.content("README.md") == CARD


def test_what_the_pipeline_wrote_in_another_mode_is_accounted_for_and_not_refused(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    both = article(71)
    DatasetManager(DATASET, settings=synced.settings, backoff=QUICK).insert(columns([both]))
    synced.put({"README.md": CARD})  # and somebody edits the card meanwhile
    news.insert(columns([both]))
    outcome = checked(make_job(), synced, store)
    assert outcome.reason == "the pipeline, in another mode changed the dataset since the last sync"
    assert outcome.account is not None
    assert (outcome.account.published, outcome.account.in_postgres, outcome.account.new) == (7, 7, 1)


def test_rows_that_only_the_hub_has_are_named_and_stay_until_told_otherwise(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    only_there = [article(71, unique_id="only there"), article(72, unique_id="there too")]
    DatasetManager(DATASET, settings=synced.settings, backoff=QUICK).insert(columns(only_there))
    error = refused(make_job(), synced, store, "2 published rows are unknown to PostgreSQL and would go")
    assert "only there, there too" in error.message
    assert "reconcile --repair from-postgres --assume-mode postgres, without --allow-delete" in error.hint
    told = make_job(dry_run=True).run()
    assert told.account is not None
    assert (told.account.unexplained, list(told.account.unexplained_ids)) == (2, ["only there", "there too"])
    news.insert(columns(only_there[:1]))
    refused(make_job(), synced, store, "1 published rows are unknown to PostgreSQL and would go: there too")
    outcome = checked(make_job(overwrite=True), synced, store)
    assert outcome.account is not None
    assert outcome.account.unexplained == 1
    assert len(on_the_hub(synced)) == 8


def test_a_row_that_the_hub_still_has_though_it_was_deleted_goes_without_asking(
    synced: Hub, store: Store, make_job: Jobs
) -> None:
    old = synced.content(MARCH)
    store.execute(f"DELETE FROM news WHERE unique_id = '{ROWS[0]['unique_id']}'")
    store.execute(f"UPDATE news SET unique_id = 'renamed' WHERE unique_id = '{ROWS[1]['unique_id']}'")
    checked(make_job(), synced, store)
    store.execute("DELETE FROM consumer_positions")
    synced.store.delete(DATASET)
    synced.store.create(DATASET)
    synced.put({MARCH: old})
    outcome = checked(make_job(), synced, store)
    assert outcome.account is not None
    assert (outcome.account.deleted, outcome.account.unexplained, outcome.account.in_postgres) == (2, 0, 4)


def test_a_squashed_history_is_answered_by_a_whole_account(synced: Hub, store: Store, make_job: Jobs) -> None:
    """No stamp is left to say how far the dataset has come, nor who changed it."""
    _squash(synced)
    outcome = checked(make_job(), synced, store)
    assert outcome.reason == "outside carries no stamp"
    assert outcome.account is not None
    assert (outcome.account.in_postgres, outcome.account.new) == (6, 1)
    assert checked(make_job(), synced, store).reason == ""


def test_a_squashed_history_hides_no_foreign_rows(synced: Hub, store: Store, make_job: Jobs) -> None:
    foreign_month(synced)
    _squash(synced)
    with pytest.raises(IntegrityError, match="1 published rows are unknown to PostgreSQL and would go"):
        make_job().run()
    checked(make_job(overwrite=True), synced, store)


def test_a_history_that_was_put_back_is_answered_by_a_whole_account(synced: Hub, store: Store, make_job: Jobs) -> None:
    """As by a forced push: the head is an older commit of ours, with an older stamp."""
    older = synced.head()
    checked(make_job(), synced, store)
    repo = synced.store.repo(DATASET)
    assert repo is not None
    synced.store._write(DATASET, {**repo, "refs": {"main": older}})
    outcome = checked(make_job(), synced, store)
    assert "is behind" in outcome.reason


def test_a_reduced_dataset_that_others_changed_follows_again(synced: Hub, store: Store, make_job: Jobs) -> None:
    synced.store.commit(REDUCED, {"data/train-extra.parquet": b"x"}, delete=[MARCH])
    checked(make_job(), synced, store)
    synced.put({MARCH: parquet_bytes(ROWS[:1])}, dataset=REDUCED)
    checked(make_job(), synced, store)  # without anything new in PostgreSQL
    assert "data/train-extra.parquet" not in synced.files(REDUCED)


def test_a_card_edited_between_look_and_commit_makes_the_sync_look_again(
    synced: Hub, store: Store, make_job: Jobs
) -> None:
    left = ["README.md"]

    def race(dataset: str) -> None:
        if dataset == DATASET and left:
            synced.put({left.pop(): CARD})

    synced.server.on_commit = race
    checked(make_job(), synced, store)
    assert left == []
    assert "license: mit" in synced.content("README.md").decode()
    assert [c["title"].split(":")[0] for c in synced.commits()[:2]] == ["Sync", "Change files"]


def test_a_data_file_that_comes_between_look_and_commit_makes_the_sync_refuse(
    synced: Hub, store: Store, make_job: Jobs
) -> None:
    before = position(store)
    left = ["data/train-extra.parquet"]

    def race(dataset: str) -> None:
        if dataset == DATASET and left:
            synced.put({left.pop(): parquet_bytes([article(80)])})

    synced.server.on_commit = race
    with pytest.raises(IntegrityError, match=r"somebody else changed data files.*train-extra"):
        make_job().run()
    assert position(store) == before
    assert "data/train-extra.parquet" in synced.files()
    checked(make_job(overwrite=True), synced, store)


def test_overwriting_takes_what_was_there_when_it_began_and_nothing_that_comes_meanwhile(
    synced: Hub, store: Store, make_job: Jobs
) -> None:
    foreign_file(synced)
    before = position(store)
    left = ["data/train-2031-01.parquet"]

    def race(dataset: str) -> None:
        if dataset == DATASET and left:
            synced.put({left.pop(): parquet_bytes([article(81)])})

    synced.server.on_commit = race
    with pytest.raises(
        IntegrityError, match=r"while they were to be overwritten: data/train-2031-01\.parquet"
    ) as caught:
        make_job(overwrite=True).run()
    assert "--overwrite again" in caught.value.hint
    assert {"data/train-extra.parquet", "data/train-2031-01.parquet"} <= set(synced.files())
    assert position(store) == before
    checked(make_job(overwrite=True), synced, store)


def test_overwriting_bears_a_card_that_is_edited_meanwhile(synced: Hub, store: Store, make_job: Jobs) -> None:
    foreign_file(synced)
    left = ["README.md"]

    def race(dataset: str) -> None:
        if dataset == DATASET and left:
            synced.put({left.pop(): CARD})

    synced.server.on_commit = race
    checked(make_job(overwrite=True), synced, store)
    assert "license: mit" in synced.content("README.md").decode()


def test_the_pipeline_committing_between_look_and_commit_is_accounted_for(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    rows = [article(71)]
    news.insert(columns(rows))

    def race(dataset: str) -> None:
        synced.server.on_commit = None
        DatasetManager(DATASET, settings=synced.settings, backoff=QUICK).insert(columns(rows))

    synced.server.on_commit = race
    assert checked(make_job(), synced, store).reason.startswith("the pipeline")


def test_a_card_edited_right_after_the_commit_does_no_harm(
    synced: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_failpoint(monkeypatch, "sync.before_proof", lambda: synced.put({"README.md": CARD})):
        outcome = checked(make_job(), synced, store)
    assert outcome.committed
    assert checked(make_job(), synced, store).reason == ""


@pytest.mark.parametrize("what", ["run", "verify"])
def test_a_foreign_file_of_another_kind_that_readers_take_for_data_is_noticed(
    synced: Hub, store: Store, make_job: Jobs, what: str
) -> None:
    """`load_dataset` fails for everybody from the moment on that it is there."""
    checked(make_job(), synced, store)
    synced.put({"data/train-notes.csv": b"a,b\n1,2\n"})
    job = make_job()
    if what == "run":
        with pytest.raises(DataPlatformError, match=r"train-notes\.csv"):
            job.run()
    else:
        assert not job.verify().passed
