"""Bad input: each a clear error that says what to do and whether trying again helps; nothing is half-written."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import pyarrow as pa
import pytest

from data_platform.cli import ATTENTION, COULD_NOT_RUN
from data_platform.models.columns import PUBLISHED_SCHEMA
from dev.embedded_postgres import EmbeddedPostgres
from dev.hub_server import HubServer, HubStore
from tests.support.command_line import Command
from tests.support.migrations import Migrations
from tests.support.sources import articles, data_files, write_rows, write_source
from tests.support.stores import Store
from tests.support.waiting import blocked, holding, wait_until


@dataclass(frozen=True)
class Refused:
    """What a command that could not run says."""

    kind: str
    error: str
    hint: str
    retryable: bool


@pytest.fixture
def refused(store: Store, command: Command) -> Callable[..., Refused]:
    """A function that runs a command which must be refused, and leave everything as it was."""
    before = store.definitions()

    def run(*arguments: str, writes_nothing: bool = True) -> Refused:
        ran = command(*arguments)
        assert ran.status == COULD_NOT_RUN, ran
        said = ran.result  # one JSON object, and nothing else, on standard output
        assert set(said) == {"error", "hint", "kind", "retryable"}
        told = " ".join(ran.err.split())
        assert " ".join(said["error"].split()) in told
        assert said["hint"] in told
        assert "Traceback" not in ran.err
        if writes_nothing:
            assert store.value("SELECT count(*) FROM news") == 0
            assert store.definitions() == before
        return Refused(**said)

    return run


def _damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _footer(whole: bytes) -> int:
    """Return how many bytes before the end of a file its footer begins."""
    return int.from_bytes(whole[-8:-4], "little") + 8


def _closed_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class TestSource:
    @pytest.mark.parametrize(
        "source", ["/nirgends/dados", "./nirgends", "nirgends.parquet", "a/b/c", "nada", "hf://datasets/", "   "]
    )
    def test_one_that_is_not_there(self, source: str, refused: Callable[..., Refused]) -> None:
        said = refused("migrate", "--source", source)
        assert said.kind in {"SourceError", "ConfigurationError"}
        assert source.strip() in said.error
        assert "a folder" in said.hint
        assert not said.retryable

    @pytest.mark.parametrize("command_name", ["migrate", "validate"])
    def test_a_folder_without_data(self, command_name: str, refused: Callable[..., Refused], tmp_path: Path) -> None:
        write_rows(tmp_path / "other.csv.parquet.txt", articles(1))
        said = refused(command_name, "--source", str(tmp_path))
        assert (said.kind, said.retryable) == ("SourceError", False)
        assert "no data/train*.parquet" in said.error

    def test_a_dataset_that_the_hub_does_not_have(
        self, refused: Callable[..., Refused], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with HubServer(HubStore(tmp_path / "hub")) as server:
            monkeypatch.setenv("HF_ENDPOINT", server.url)
            said = refused("migrate", "--source", "ninguem/nada")
        assert (said.kind, said.retryable) == ("SourceError", False)
        assert "'ninguem/nada'" in said.error
        assert "check its name" in said.hint
        assert "HF_TOKEN is not set" in said.hint

    def test_a_hub_that_does_not_answer(self, refused: Callable[..., Refused], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{_closed_port()}")
        said = refused("migrate", "--source", "ninguem/nada")
        assert (said.kind, said.retryable) == ("SourceUnavailableError", True)
        assert "try again later" in said.hint

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda whole: whole[: len(whole) // 2], "cut off"),
            (lambda whole: whole[:-1], "cut off"),
            (lambda _: b"", "cut off"),
            (lambda _: b"unique_id,agency\n1,mre\n", "not a parquet file"),
            (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git lfs pull"),
            (lambda whole: whole[: -_footer(whole)] + bytes(64) + whole[64 - _footer(whole) :], "damaged"),
        ],
        ids=["half", "last byte", "empty", "csv", "lfs", "footer"],
    )
    def test_a_damaged_file_is_named(
        self, change: Callable[[bytes], bytes], words: str, refused: Callable[..., Refused], migrations: Migrations
    ) -> None:
        migrations.write(articles(20), articles(20, first=20))
        _damage(data_files(migrations.folder)[1], change)
        said = refused("migrate", "--source", str(migrations.folder))
        assert (said.kind, said.retryable) == ("SourceError", False)
        assert "data/train-00001-of-00002.parquet" in said.error
        assert words in said.error + said.hint

    def test_a_page_that_is_damaged_stops_the_load_and_can_be_given_up(
        self, refused: Callable[..., Refused], migrations: Migrations, store: Store, command: Command
    ) -> None:
        """Only reading it shows; the key columns are whole, so planning passes."""
        fresh = store.definitions()
        migrations.write(articles(20), articles(20, first=20))
        second = data_files(migrations.folder)[1]
        whole = second.read_bytes()
        at = whole.index("Texto da notícia".encode())
        second.write_bytes(whole[: at - 30] + bytes(200) + whole[at + 170 :])
        said = refused("migrate", "--source", str(migrations.folder), "--parallel", "1", writes_nothing=False)
        assert (said.kind, said.retryable) == ("SourceError", False)
        assert "data/train-00001-of-00002.parquet" in said.error
        assert store.value("SELECT count(*) FROM news") == 20
        off = command("status")
        assert off.status == ATTENTION
        assert "news_pkey" in off.result["indexes_off"]

        migrations.write(articles(20), articles(20, first=20))
        outcome = migrations.run(resume=False)
        assert (outcome.account.loaded, outcome.account.already_present) == (20, 20)
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"
        assert store.definitions() == fresh
        assert command("status").status == 0

    def test_all_that_is_wrong_with_the_schemas_is_told_at_once(
        self, refused: Callable[..., Refused], migrations: Migrations
    ) -> None:
        migrations.write(articles(5), articles(5, first=5), articles(5, first=10))
        first, second, _ = data_files(migrations.folder)
        missing = pa.schema([field for field in PUBLISHED_SCHEMA if field.name not in {"unique_id", "title"}])
        write_rows(first, articles(5), schema=missing)
        rows = [{**row, "published_at": True, "tags": 7} for row in articles(5)]
        wrong = PUBLISHED_SCHEMA
        for name, kind in (("published_at", pa.bool_()), ("tags", pa.int64())):
            wrong = wrong.set(wrong.get_field_index(name), pa.field(name, kind))
        write_rows(second, rows, schema=wrong)
        said = refused("migrate", "--source", str(migrations.folder))
        assert (said.kind, said.retryable) == ("SourceError", False)
        for file, problem in (
            ("00000", "unique_id is missing"),
            ("00000", "title is missing"),
            ("00001", "published_at is bool"),
            ("00001", "tags is int64"),
        ):
            assert f"data/train-{file}-of-00003.parquet: {problem}" in said.error
        assert "published dataset" in said.hint

    def test_one_that_changes_under_a_load(
        self, refused: Callable[..., Refused], migrations: Migrations, store: Store
    ) -> None:
        migrations.write(articles(20), articles(20, first=20))
        with migrations.interrupted("load.after_commit"):
            migrations.run()
        write_rows(data_files(migrations.folder)[1], articles(21, first=20))
        said = refused("migrate", "--source", str(migrations.folder), writes_nothing=False)
        assert said.kind == "StoreError"
        assert "--no-resume" in said.hint


class TestDatabase:
    @pytest.fixture(autouse=True)
    def _source(self, migrations: Migrations) -> None:
        migrations.write(articles(20), articles(20, first=20))

    @pytest.fixture
    def migrate(self, refused: Callable[..., Refused], migrations: Migrations) -> Callable[..., Refused]:
        return lambda *more, **named: refused("migrate", "--source", str(migrations.folder), *more, **named)

    def test_none_is_set(self, migrate: Callable[..., Refused], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DATABASE_URL")
        said = migrate()
        assert (said.kind, said.retryable) == ("ConfigurationError", False)
        assert "DATABASE_URL" in said.hint

    @pytest.mark.parametrize(
        "address", ["mysql://root@127.0.0.1/x", "127.0.0.1", "postgresql://u:segredo@127.0.0.1:x/y"]
    )
    def test_an_address_that_is_none(self, address: str, migrate: Callable[..., Refused]) -> None:
        said = migrate("--database-url", address)
        assert said.kind in {"ConfigurationError", "StoreError"}
        assert not said.retryable
        assert "postgresql://" in said.hint or "DATABASE_URL" in said.hint
        assert "segredo" not in said.error

    def test_one_that_does_not_answer(self, migrate: Callable[..., Refused]) -> None:
        said = migrate("--database-url", f"postgresql://postgres@127.0.0.1:{_closed_port()}/x")
        assert (said.kind, said.retryable) == ("StoreUnavailableError", True)
        assert "reachable" in said.hint

    @pytest.mark.parametrize(("part", "value"), [("path", "/nao_existe"), ("password", "errada"), ("user", "ninguem")])
    def test_one_that_lets_nobody_in(
        self, part: str, value: str, migrate: Callable[..., Refused], store: Store
    ) -> None:
        said = migrate("--database-url", _with(store.url, **{part: value}))
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert "DATABASE_URL" in said.hint

    def test_a_read_only_one(self, migrate: Callable[..., Refused], store: Store) -> None:
        database = urlsplit(store.url).path.removeprefix("/")
        store.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        said = migrate()
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert "read-only" in said.error
        assert "primary" in said.hint

    @pytest.mark.parametrize("command_name", ["migrate", "validate"])
    def test_one_without_the_schema(
        self,
        command_name: str,
        refused: Callable[..., Refused],
        make_database: Callable[[], str],
        migrations: Migrations,
    ) -> None:
        said = refused(command_name, "--source", str(migrations.folder), "--database-url", make_database())
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert "without our schema" in said.error
        assert "create-schema" in said.hint

    def test_one_of_another_version(self, migrate: Callable[..., Refused], store: Store) -> None:
        store.execute("UPDATE schema_version SET version_num = '9999'")
        said = migrate()
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert "9999" in said.error

    @pytest.mark.parametrize("table", ["agencies", "themes"])
    def test_one_without_master_data(self, table: str, migrate: Callable[..., Refused], store: Store) -> None:
        store.execute(f"DELETE FROM {table}")
        said = migrate()
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert f"{table} is empty" in said.error
        assert f"populate-{table}" in said.hint

    def test_a_user_who_may_only_read(
        self, migrate: Callable[..., Refused], store: Store, reader: str, migrations: Migrations
    ) -> None:
        said = migrate("--database-url", reader)
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert "may not load the table news" in said.error
        assert "postgres" in said.hint  # whose table it is

    def test_a_user_who_may_write_but_owns_nothing(
        self, migrate: Callable[..., Refused], store: Store, reader: str
    ) -> None:
        store.execute(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {urlsplit(reader).username}")
        said = migrate("--database-url", reader)
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert "may not load the table news" in said.error

    def test_a_connection_that_is_cut_is_worth_another_try(
        self, migrate: Callable[..., Refused], store: Store, migrations: Migrations
    ) -> None:
        said: list[Refused] = []
        with holding(store, "LOCK TABLE news_tombstones IN ACCESS EXCLUSIVE MODE"):
            store.execute(
                "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
                " IF NEW.unique_id > ''8'' THEN PERFORM count(*) FROM news_tombstones; END IF; RETURN NEW; END'",
                "CREATE TRIGGER wait BEFORE INSERT ON news FOR EACH ROW EXECUTE FUNCTION wait()",
            )
            worker = threading.Thread(target=lambda: said.append(migrate("--parallel", "1", writes_nothing=False)))
            worker.start()
            wait_until(lambda: blocked(store, "load"), "the load did not get to wait")
            store.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'govbr load'"
            )
            worker.join(60)
        assert (said[0].kind, said[0].retryable) == ("StoreUnavailableError", True)
        store.execute("DROP TRIGGER wait ON news")
        outcome = migrations.run()
        assert outcome.account.loaded == 40
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"


def _with(url: str, *, path: str = "", user: str = "", password: str = "") -> str:
    parts = urlsplit(url)
    netloc = f"{user or parts.username}:{password or parts.password}@{parts.hostname}:{parts.port}"
    return urlunsplit(parts._replace(netloc=netloc, path=path or parts.path))


@pytest.fixture
def reader(store: Store) -> Iterator[str]:
    """Address of the store for a user who may read everything and write nothing."""
    name = urlsplit(store.url).path.removeprefix("/").replace("store", "reader")
    store.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'so-leitura'")
    store.execute(f"GRANT USAGE ON SCHEMA public TO {name}", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    yield _with(store.url, user=name, password="so-leitura")
    store.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


class TestFullDisk:
    def test_it_is_said_and_the_same_command_goes_on_afterwards(
        self, refused: Callable[..., Refused], migrations: Migrations, store: Store
    ) -> None:
        """The error of the server in the middle of a COPY, from a trigger; the test below fills a real disk."""
        fresh = store.definitions()
        migrations.write(articles(20), articles(20, first=20))
        store.execute(
            "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF (SELECT count(*) FROM news) > 29 THEN"
            " RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''disk_full'';"
            " END IF; RETURN NEW; END'",
            "CREATE TRIGGER fill BEFORE INSERT ON news FOR EACH ROW EXECUTE FUNCTION fill()",
        )
        said = refused("migrate", "--source", str(migrations.folder), "--parallel", "1", writes_nothing=False)
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert "No space left" in said.error
        assert "disk space" in said.hint
        assert store.value("SELECT count(*) FROM news") == 20  # nothing of the segment in flight
        store.execute("DROP TRIGGER fill ON news")
        assert migrations.run().account.loaded == 40
        assert store.definitions() == fresh

    @pytest.mark.slow
    def test_a_real_one(
        self, small_disk: Callable[[str], None], refused: Callable[..., Refused], migrations: Migrations, store: Store
    ) -> None:
        fresh = store.definitions()
        dice = random.Random(7)
        rows = articles(60)
        for row in rows:
            row["content"] = dice.randbytes(150_000).hex()  # which no compression makes small
        migrations.write(rows[:10], rows[10:])
        store.execute("ALTER TABLE news SET TABLESPACE small_disk")
        said = refused("migrate", "--source", str(migrations.folder), "--parallel", "1", writes_nothing=False)
        assert (said.kind, said.retryable) == ("StoreError", False)
        assert "No space left on device" in said.error
        assert "disk space" in said.hint
        assert store.value("SELECT count(*) FROM news") == 10
        small_disk("128m")
        outcome = migrations.run()
        assert outcome.account.loaded == 60
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"
        store.execute("ALTER TABLE news SET TABLESPACE pg_default")
        assert store.definitions() == fresh


@pytest.fixture
def small_disk(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """A tablespace `small_disk` on a file system of 8 MB of its own; call it with another size to make it larger."""
    folder = Path(f"/var/tmp/small-disk-{psutil.Process().pid}")
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", str(folder)]
    folder.mkdir()
    if sys.platform != "linux" or subprocess.run(mount, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("this user may not mount a file system")
    try:
        data = folder / "data"
        data.mkdir()
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            server = psutil.Process(connection.info.backend_pid)
            subprocess.run(["chown", f"{server.uids().real}:{server.gids().real}", str(data)], check=True)
            connection.execute(f"CREATE TABLESPACE small_disk LOCATION '{data}'")

            def resize(size: str) -> None:
                subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

            yield resize
            connection.execute("DROP TABLESPACE small_disk")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


class TestRejectRate:
    def test_over_the_limit_nothing_is_written(self, migrations: Migrations, store: Store, command: Command) -> None:
        fresh, agencies = store.definitions(), store.agencies()
        rows = articles(100)
        rows[3]["title"] = None
        rows[50]["title"] = "No Title"
        rows[60]["agency"] = "ministerio-novo"
        migrations.write(rows)
        ran = command("migrate", "--source", str(migrations.folder), "--max-reject-rate", "0.0199", "--parallel", "1")
        assert ran.status == ATTENTION
        assert ran.result["kind"] == "IntegrityError"
        assert "2 of 100 rows would be rejected (2.000%)" in ran.result["error"]
        assert "limit of 1.990%" in ran.result["error"]
        assert "dry run" in ran.result["hint"]
        assert not ran.result["retryable"]
        assert store.value("SELECT count(*) FROM news") == 0
        assert store.definitions() == fresh
        assert store.agencies() == agencies
        assert store.rejects() == []
        run = store.query("SELECT status, error FROM load_runs")[0]
        assert run["status"] == "failed"
        assert "2 of 100 rows" in run["error"]

        ran = command("migrate", "--source", str(migrations.folder), "--max-reject-rate", "0.02", "--parallel", "1")
        assert ran.status == 0
        assert (ran.result["loaded"], ran.result["rejected"]) == (98, 2)

    def test_a_dry_run_shows_them_whatever_the_number(
        self, migrations: Migrations, store: Store, command: Command
    ) -> None:
        migrations.write([row | {"title": None} for row in articles(10)])
        ran = command("migrate", "--source", str(migrations.folder), "--dry-run", "--max-reject-rate", "1")
        assert ran.status == 0
        assert ran.result["rejected_by_reason"] == {"title_missing": 10}
        assert store.rejects() == []

    def test_duplicates_are_no_rejects(self, migrations: Migrations, command: Command) -> None:
        migrations.write(articles(5) + [row | {"title": "Outra versão"} for row in articles(5)])
        ran = command("migrate", "--source", str(migrations.folder), "--max-reject-rate", "0", "--parallel", "1")
        assert ran.status == 0
        assert ran.result["duplicates"] == 5


@pytest.mark.parametrize(
    "options",
    [
        ("--max-reject-rate", "1.01"),
        ("--max-reject-rate", "-0.1"),
        ("--max-reject-rate", "nan"),
        ("--parallel", "0"),
        ("--parallel", "99"),
        ("--batch-size", "0"),
    ],
    ids=" ".join,
)
def test_options_that_cannot_be_meant(
    options: tuple[str, str], refused: Callable[..., Refused], migrations: Migrations
) -> None:
    migrations.write(articles(3))
    said = refused("migrate", "--source", str(migrations.folder), *options)
    assert (said.kind, said.retryable) == ("ConfigurationError", False)
    assert options[0].strip("-").split("-")[0] in said.error


def test_what_nobody_foresaw_is_one_json_object_too(
    migrations: Migrations, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a fault of the program")

    monkeypatch.setattr("data_platform.jobs.migration.job.open_source", broken)
    ran = command("migrate", "--source", str(migrations.folder))
    assert ran.status == COULD_NOT_RUN
    assert ran.result["kind"] == "ZeroDivisionError"
    assert not ran.result["retryable"]
    assert "a fault of the program" in ran.err


def test_reports_that_cannot_be_written_cost_no_row(
    migrations: Migrations, store: Store, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in-the-way").write_text("")
    monkeypatch.setenv("REPORTS_URI", str(tmp_path / "in-the-way" / "reports"))
    write_source(migrations.folder, [articles(10)])
    ran = command("migrate", "--source", str(migrations.folder))
    assert ran.status == COULD_NOT_RUN
    assert "REPORTS_URI" in ran.result["hint"]
    assert store.value("SELECT count(*) FROM news") == 10
    assert all(item["valid"] for item in store.definitions())
    monkeypatch.setenv("REPORTS_URI", str(tmp_path / "reports"))
    ran = command("migrate", "--source", str(migrations.folder))
    assert ran.status == 0
    assert (ran.result["run_id"], ran.result["loaded"]) == (1, 10)
