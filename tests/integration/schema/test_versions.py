"""The schema goes up, down and up again on both servers; what is unknown or foreign is refused and left alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from data_platform import schema
from data_platform.errors import StoreError
from data_platform.schema import SchemaChange, current_version, downgrade, head_version, require_current, upgrade

HEAD = head_version()


def ask(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def tell(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def definitions(url: str) -> dict[str, list[Any]]:
    """Return all that a schema is made of."""
    return {
        "columns": ask(
            url,
            "SELECT c.relname, a.attname, format_type(atttypid, atttypmod), attnotnull, attcompression,"
            " pg_get_expr(adbin, adrelid) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
            " LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum"
            " WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND relkind IN ('r', 'v')"
            " AND relname <> 'schema_version' ORDER BY relname, attnum",
        ),
        "indexes": ask(url, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"),
        "constraints": ask(
            url,
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        ),
        "triggers": ask(url, "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"),
        "functions": ask(
            url, "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
        ),
        "views": ask(url, "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"),
    }


def relations(url: str) -> set[str]:
    return {name for (name,) in ask(url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")}


def test_up_down_and_up_again(each_database_url: str) -> None:
    url = each_database_url
    assert current_version(url) is None
    assert upgrade(url) == SchemaChange(None, HEAD)
    assert current_version(url) == HEAD
    first = definitions(url)
    tell(url, "INSERT INTO agencies (key, name) VALUES ('mec', 'MEC')")

    again = upgrade(url)
    assert again == SchemaChange(HEAD, HEAD)
    assert not again.changed
    assert ask(url, "SELECT key FROM agencies") == [("mec",)]

    assert downgrade(url, "base") == SchemaChange(HEAD, None)
    assert current_version(url) is None
    left = definitions(url)
    assert (left["columns"], left["functions"], left["triggers"], left["views"]) == ([], [], [], [])
    assert relations(url) <= {"schema_version", "schema_version_pkc"}
    assert downgrade(url, "base") == SchemaChange(None, None)

    assert upgrade(url) == SchemaChange(None, HEAD)
    assert definitions(url) == first


def test_no_index_depends_on_the_session_or_holds_whole_texts(each_database_url: str) -> None:
    """Faults 17 and 19."""
    upgrade(each_database_url)
    for (definition,) in definitions(each_database_url)["indexes"]:
        assert "now()" not in definition
        assert "tsvector" not in definition
        assert "date(" not in definition
        assert "content" not in definition


def test_large_texts_use_lz4_where_the_server_has_it(each_database_url: str) -> None:
    upgrade(each_database_url)
    has_lz4 = ask(
        each_database_url, "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    )
    found = ask(
        each_database_url,
        "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attcompression = 'l' ORDER BY 1, 2",
    )
    assert found == ([("news", "content"), ("news", "summary"), ("rejects", "payload")] if has_lz4[0][0] else [])


def test_two_callers_at_once(each_database_url: str) -> None:
    """Both are made to wait at the lock, so that they surely meet; one then works and the other finds it done."""
    code = "import sys; from data_platform.schema import upgrade; print(upgrade(sys.argv[1]).changed)"
    command = [sys.executable, "-c", code, each_database_url]
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with psycopg.connect(each_database_url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (schema._LOCK_KEY,))
        callers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
        try:
            while holder.execute(waiting).fetchone() != (2,):
                assert [caller.poll() for caller in callers] == [None, None], "a caller did not wait"
                time.sleep(0.05)
            assert relations(each_database_url) == set()
            holder.execute("SELECT pg_advisory_unlock(%s)", (schema._LOCK_KEY,))
            answers = [caller.communicate(timeout=60) for caller in callers]
        finally:
            for caller in callers:
                caller.kill()
    assert sorted(out.strip() for out, _ in answers) == ["False", "True"], answers
    assert current_version(each_database_url) == HEAD


def test_a_version_from_the_future_is_refused_and_left_alone(database_url: str) -> None:
    upgrade(database_url)
    tell(database_url, "UPDATE schema_version SET version_num = '9999'")
    for change in (upgrade, lambda url: downgrade(url, "base")):
        with pytest.raises(StoreError, match=r"schema version 9999, which this package does not know .*newer release"):
            change(database_url)
    with pytest.raises(StoreError, match=f"at schema version 9999, this package works with {HEAD}"):
        require_current(database_url)
    assert current_version(database_url) == "9999"
    assert "news" in relations(database_url)


def test_what_needs_the_schema_says_how_to_make_it(database_url: str) -> None:
    with pytest.raises(StoreError, match=r"without our schema.*create-schema"):
        require_current(database_url)
    upgrade(database_url)
    require_current(database_url)


def test_an_older_version_is_named_and_brought_up(
    database_url: str, make_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second version is laid beside the real ones, as the next release will."""
    upgrade(database_url)
    with monkeypatch.context() as patched:
        _add_version(tmp_path, patched)
        with pytest.raises(StoreError, match=f"at schema version {HEAD}, this package works with 0002_test"):
            require_current(database_url)
        assert upgrade(database_url) == SchemaChange(HEAD, "0002_test")
        assert upgrade(database_url, HEAD) == SchemaChange("0002_test", "0002_test")  # never down by itself
        require_current(database_url)
        fresh = make_database()
        assert upgrade(fresh, HEAD) == SchemaChange(None, HEAD)
        assert upgrade(fresh) == SchemaChange(HEAD, "0002_test")
        assert downgrade(fresh, HEAD) == SchemaChange("0002_test", HEAD)
    require_current(fresh)


def test_an_upgrade_that_fails_leaves_nothing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _add_version(tmp_path, monkeypatch, up="op.execute('CREATE TABLE later ()'); op.execute('SELECT 1/0')")
    with pytest.raises(Exception, match="division by zero"):
        upgrade(database_url)
    assert relations(database_url) == set()
    assert current_version(database_url) is None


def _add_version(folder: Path, patched: pytest.MonkeyPatch, *, up: str = "op.execute('CREATE TABLE later ()')") -> None:
    """Make the package find one more version than it has."""
    (folder / "0002_test.py").write_text(
        f"from alembic import op\nrevision, down_revision = '0002_test', '{HEAD}'\nbranch_labels = depends_on = None\n"
        f"def upgrade():\n    {up}\ndef downgrade():\n    op.execute('DROP TABLE later')\n",
        encoding="utf-8",
    )
    original = schema._config

    def config() -> Any:
        made = original()
        own = Path(schema.__file__).parent / "versions"
        made.set_main_option("version_locations", f"{own}:{folder}")
        return made

    patched.setattr(schema, "_config", config)


def test_a_version_that_nobody_has_heard_of(database_url: str) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        upgrade(database_url, "nowhere")
    assert relations(database_url) == set()


def test_tables_of_another_application_stay_as_they_are(database_url: str) -> None:
    tell(database_url, "CREATE TABLE news (id int)", "INSERT INTO news VALUES (1)")
    with pytest.raises(StoreError, match=r'"news" already exists.*empty database'):
        upgrade(database_url)
    assert ask(database_url, "SELECT * FROM news") == [(1,)]
    assert relations(database_url) == {"news"}


def test_the_team_s_first_schema_is_recognised(database_url: str) -> None:
    """Its table schema_version has other columns (FIELD_FACTS §7.2)."""
    tell(database_url, "CREATE TABLE schema_version (version varchar(20) PRIMARY KEY, applied_at timestamptz)")
    for call in (upgrade, current_version, require_current):
        with pytest.raises(StoreError, match="schema_version that is not of this package"):
            call(database_url)


def test_a_database_that_cannot_hold_every_text_is_refused(database_url: str) -> None:
    name = database_url.rpartition("/")[2] + "_latin1"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
        try:
            with pytest.raises(StoreError, match=r"encoding is LATIN1.*UTF8"):
                upgrade(database_url.rpartition("/")[0] + f"/{name}")
        finally:
            connection.execute(f"DROP DATABASE {name}")
