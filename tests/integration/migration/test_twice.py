"""A migration run again changes nothing and says so; two at a time, or two different ones, do not mix."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_platform.cli import main
from data_platform.errors import BusyError, StoreError, StoreUnavailableError
from tests.support.command_line import Command, CommandLine
from tests.support.migrations import Migrations
from tests.support.sources import Row, article, articles, newer, write_source
from tests.support.stores import Store
from tests.support.waiting import WAIT_S, blocked, holding, wait_until


def _mixed_rows() -> tuple[list[Row], list[Row]]:
    """Good rows, a cleaned one, a rejected one, duplicates of all kinds, a double, a stub, an unknown theme."""
    rows = articles(60)
    rows[1]["category"] = "No Category"
    rows[2]["title"] = None
    rows[3]["agency"] = "ministerio-novo"
    rows[4] |= {"theme_1_level_1": "77 - Tema novo", "theme_1_level_1_code": "77"}
    rows[6]["content"] = "com \x00 NUL"
    rows[40] = newer(rows[7])
    rows[41] = newer(rows[8], title="Título corrigido")
    rows[42]["agency"], rows[42]["url"] = rows[9]["agency"], rows[9]["url"] + "#topo"
    return rows[:30], rows[30:]


class TestAgain:
    def test_nothing_is_touched_and_it_says_so(self, migrations: Migrations, store: Store) -> None:
        first = migrations.bring(*_mixed_rows(), max_reject_rate=0.1)
        assert (first.account.loaded, first.account.duplicates, first.account.rejected) == (57, 2, 1)
        assert not first.account.changed_nothing
        before, versions = store.contents(), store.versions()

        again = migrations.run(max_reject_rate=0.1)
        assert store.versions() == versions
        assert store.contents() == before
        assert again.run.mode == "catch-up"
        account = again.account
        assert account.changed_nothing
        assert (account.read, account.already_present, account.duplicates, account.rejected) == (60, 57, 2, 1)
        assert (account.loaded, account.updated, account.remarked, account.vanished) == (0, 0, 0, 0)
        assert account.duplicates_by_kind == first.account.duplicates_by_kind
        assert again.validation is not None
        assert first.validation is not None
        assert again.validation.equal == first.validation.equal
        assert again.validation.verdict == first.validation.verdict

    def test_the_command_says_in_words_that_nothing_changed(
        self, migrations: Migrations, store: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        migrations.bring(articles(5), validate=False)
        assert main(["migrate", "--source", str(migrations.folder), "--database-url", store.url]) == 0
        assert "nothing changed: every row was there already" in capsys.readouterr().out

    def test_a_third_time_after_a_change_is_again_nothing(self, migrations: Migrations, store: Store) -> None:
        rows = articles(20)
        migrations.bring(rows, validate=False)
        rows[3] = newer(rows[3], title="Outro título")
        rows.append(article(99))
        assert not migrations.bring(rows, validate=False).account.changed_nothing
        versions = store.versions()
        assert migrations.run(validate=False).account.changed_nothing
        assert store.versions() == versions

    def test_what_was_rejected_is_not_doubled_but_marked_as_seen(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(*_mixed_rows(), max_reject_rate=0.1, validate=False)
        runs = store.query("SELECT first_run_id, last_run_id FROM rejects")
        assert [tuple(r.values()) for r in runs] == [(1, 1), (1, 1)]
        migrations.run(max_reject_rate=0.1, validate=False)
        runs = store.query("SELECT first_run_id, last_run_id FROM rejects")
        assert [tuple(r.values()) for r in runs] == [(1, 2), (1, 2)]

    def test_an_empty_source_is_no_row_and_no_error(self, migrations: Migrations, store: Store) -> None:
        outcome = migrations.bring([])
        assert outcome.account.read == outcome.account.loaded == 0
        assert outcome.account.balanced
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"
        assert all(item["valid"] for item in store.definitions())


class TestTwoAtATime:
    def test_the_second_is_refused_while_the_first_is_at_work(
        self, migrations: Migrations, store: Store, command: Command
    ) -> None:
        migrations.write(*_mixed_rows())
        first: list[Any] = []
        # The first waits where it writes the stub agency, its plan half made.
        with holding(store, "LOCK TABLE agencies IN SHARE ROW EXCLUSIVE MODE"):
            worker = threading.Thread(target=lambda: first.append(migrations.run(max_reject_rate=0.1)))
            worker.start()
            wait_until(lambda: blocked(store, "migrate"), "the first migration did not get to wait")
            ran = command("migrate", "--source", str(migrations.folder))
        assert ran.status == 2
        assert ran.result["error"] == "another migration is at work on this database"
        assert "wait until it has ended" in ran.result["hint"]
        assert (ran.result["kind"], ran.result["retryable"]) == ("BusyError", True)
        worker.join(WAIT_S)
        assert first[0].account.loaded == 57
        assert first[0].validation.passed
        assert store.value("SELECT count(*) FROM load_runs") == 1

    def test_the_second_is_refused_while_the_first_builds_indexes(self, migrations: Migrations, store: Store) -> None:
        migrations.write(articles(20))
        with _building(migrations, store), pytest.raises(BusyError, match="another migration is at work"):
            migrations.run()
        assert migrations.validate().passed

    def test_readers_and_writers_of_news_do_not_wait_for_indexes(self, migrations: Migrations, store: Store) -> None:
        migrations.write(articles(20))
        with _building(migrations, store):
            assert len(store.published()) == 20
            store.execute("SET LOCAL lock_timeout = '2s'", "UPDATE news SET title = title || '.' WHERE id = 1")

    def test_a_load_that_cannot_get_the_table_is_worth_another_try(
        self, migrations: Migrations, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("data_platform.jobs.migration.indexes._LOCK_TIMEOUT", "200ms")
        migrations.write(articles(20))
        with holding(store, "SELECT count(*) FROM news"), pytest.raises(BusyError) as caught:
            migrations.run()
        assert caught.value.retryable
        assert caught.value.hint
        assert all(item["valid"] for item in store.definitions())
        assert migrations.run().account.loaded == 20


@contextmanager
def _building(migrations: Migrations, store: Store) -> Iterator[None]:
    """A migration that waits while it builds an index: online, that is until older snapshots are gone."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            migrations.run()
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    worker = threading.Thread(target=run)
    with holding(store, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") as other:
        other.execute("SELECT count(*) FROM consumer_positions")
        worker.start()
        wait_until(lambda: _index_builds(store) or failed, "the migration did not get to its indexes")
        yield
    worker.join(WAIT_S)
    if failed:
        raise failed[0]


def _index_builds(store: Store) -> bool:
    found: bool = store.value(
        "SELECT EXISTS (SELECT FROM load_runs, jsonb_array_elements(deferred) AS i WHERE i ->> 'state' = 'building')"
    )
    return found


class TestUnfinished:
    def test_another_source_is_refused_until_the_first_is_given_up(
        self, migrations: Migrations, store: Store, command: Command, tmp_path: Path
    ) -> None:
        fresh = store.definitions()
        first = write_source(tmp_path / "first", [articles(20), articles(20, first=20)])
        with migrations.interrupted("load.before_commit:2"):
            migrations.run(source=str(first))
        assert store.value("SELECT count(*) FROM news") == 20
        rows = articles(10) + articles(5, first=60)
        rows[2] = newer(rows[2], title="Outro título")
        migrations.write(rows)

        ran = command("migrate", "--source", str(migrations.folder))
        assert ran.status == 2
        assert "is unfinished" in ran.result["error"]
        assert str(first) in ran.result["error"]
        assert "--no-resume" in ran.result["hint"]
        assert store.value("SELECT count(*) FROM news") == 20

        outcome = migrations.run(resume=False)
        assert outcome.run.mode == "catch-up"
        assert (outcome.account.loaded, outcome.account.updated, outcome.account.already_present) == (5, 1, 9)
        assert store.definitions() == fresh
        statuses = store.query("SELECT status FROM load_runs ORDER BY id")
        assert [row["status"] for row in statuses] == ["abandoned", "done"]
        assert (
            store.query("SELECT 1 FROM load_runs, jsonb_array_elements(deferred) i WHERE i ->> 'state' <> 'on'") == []
        )

    @pytest.mark.parametrize("point", ["index.before_one:4", "index.after_one:4", "constraint.after_one:2"])
    def test_giving_up_that_is_stopped_can_be_done_again(
        self, point: str, migrations: Migrations, store: Store, tmp_path: Path
    ) -> None:
        fresh = store.definitions()
        first = write_source(tmp_path / "first", [articles(20), articles(20, first=20)])
        with migrations.interrupted("load.before_commit:2"):
            migrations.run(source=str(first))
        migrations.write(articles(10))
        with migrations.interrupted(point):
            migrations.run(resume=False)
        outcome = migrations.run(resume=False)
        assert outcome.account.already_present == 10
        assert store.definitions() == fresh

    def test_the_same_source_goes_on_where_it_stopped(self, migrations: Migrations, store: Store) -> None:
        migrations.write(articles(20), articles(20, first=20), articles(20, first=40))
        with migrations.interrupted("load.before_commit:3"):
            migrations.run()
        kept = store.versions()
        assert len(kept) == 40
        outcome = migrations.run()
        assert outcome.run.id == 1
        assert outcome.account.loaded == 60
        assert {uid: version for uid, version in store.versions().items() if uid in kept} == kept

    def test_a_source_that_changed_meanwhile_is_not_gone_on_with(self, migrations: Migrations) -> None:
        migrations.write(articles(20), articles(20, first=20))
        with migrations.interrupted("load.before_commit:2"):
            migrations.run()
        migrations.write(articles(20), articles(21, first=20))
        with pytest.raises(StoreError, match="is unfinished"):
            migrations.run()
        assert migrations.run(resume=False).account.loaded == 21

    def test_planning_that_was_stopped_leaves_nothing_to_give_up(
        self, migrations: Migrations, store: Store, tmp_path: Path
    ) -> None:
        first = write_source(tmp_path / "first", [articles(20)])
        with migrations.interrupted("plan.before_ready"):
            migrations.run(source=str(first))
        assert all(item["valid"] for item in store.definitions())
        assert migrations.bring(articles(30)).account.loaded == 30


class TestOthersAtWork:
    """Keys are off while rows come in, so what others write meanwhile shows afterwards."""

    @staticmethod
    def _insert(store: Store, unique_id: str) -> None:
        store.execute(
            "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title)"
            f" SELECT '{unique_id}', id, key, name, now(), 'De outro' FROM agencies WHERE key = 'mre'"
        )

    def test_a_row_of_another_writer_unbalances_the_account(
        self, migrations: Migrations, store: Store, command: Command
    ) -> None:
        migrations.write(articles(20))
        with migrations.interrupted("load.after_commit"):
            migrations.run()
        self._insert(store, "de-outro")
        ran = command("migrate", "--source", str(migrations.folder))
        assert ran.status == 1
        assert ran.result["kind"] == "IntegrityError"
        assert "news should hold 20 rows and holds 21: another writer was at work" in ran.result["error"]
        assert ran.result["hint"]
        assert store.value("SELECT account FROM load_runs") is None
        store.execute("DELETE FROM news WHERE unique_id = 'de-outro'")
        ran = command("migrate", "--source", str(migrations.folder))
        assert (ran.status, ran.result["loaded"], ran.result["verdict"]) == (0, 20, "equal")

    def test_an_id_of_another_writer_keeps_the_key_off_until_it_is_gone(
        self, migrations: Migrations, store: Store, command: Command
    ) -> None:
        fresh = store.definitions()
        migrations.write(articles(20))
        with migrations.interrupted("load.after_commit"):
            migrations.run()
        self._insert(store, article(3)["unique_id"])
        ran = command("migrate", "--source", str(migrations.folder))
        assert ran.status == 1
        assert "news_unique_id_key cannot be built" in ran.result["error"]
        assert article(3)["unique_id"] in ran.result["error"]
        assert "remove them" in ran.result["hint"]
        store.execute("DELETE FROM news WHERE title = 'De outro'")
        assert migrations.run().account.loaded == 20
        assert store.definitions() == fresh

    def test_an_index_whose_building_was_cut_is_built_anew(self, migrations: Migrations, store: Store) -> None:
        """The server leaves an index of that name behind that it keeps up to date and never uses."""
        fresh = store.definitions()
        migrations.write(articles(20))
        with pytest.raises(StoreUnavailableError), _building(migrations, store):
            _cut_building(store)
        assert _invalid(store)
        assert migrations.run().account.loaded == 20
        assert store.definitions() == fresh


def _cut_building(store: Store) -> None:
    wait_until(lambda: _invalid(store), "no index is being built")
    store.query(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'govbr index'"
    )
    wait_until(lambda: not _index_is_built(store), "the building was not cut")


def _invalid(store: Store) -> bool:
    return any(not item["valid"] for item in store.definitions())


def _index_is_built(store: Store) -> bool:
    found: bool = store.value(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'govbr index' AND state = 'active')"
    )
    return found


class TestOrphans:
    @pytest.mark.slow
    def test_workers_do_not_outlive_the_process_that_started_them(
        self, migrations: Migrations, store: Store, commands: CommandLine
    ) -> None:
        migrations.write(*(articles(20, first=20 * n) for n in range(8)))
        with holding(store, "LOCK TABLE load_doubles IN ACCESS EXCLUSIVE MODE") as lock:
            lock.rollback()
            process = commands.start("migrate", "--source", str(migrations.folder), "--parallel", "2")
            try:
                wait_until(
                    lambda: store.query("SELECT 1 FROM load_runs WHERE status = 'loading'"), "it was not planned"
                )
                lock.execute("LOCK TABLE load_doubles IN ACCESS EXCLUSIVE MODE")
                wait_until(lambda: blocked(store, "load"), "no worker got to wait")
                workers = psutil.Process(process.pid).children(recursive=True)
                assert workers
            finally:
                os.kill(process.pid, signal.SIGKILL)
                process.communicate(timeout=WAIT_S)
            lock.rollback()
        _, alive = psutil.wait_procs(workers, timeout=20)
        for worker in alive:
            worker.kill()
        assert not alive, "workers of a killed migration live on, and may write to news after it was given up"
