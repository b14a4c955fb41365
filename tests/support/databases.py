"""Databases that the tests of a module share, since making one takes longer than most tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from data_platform.schema import upgrade
from dev.embedded_postgres import EmbeddedPostgres

__all__ = ["AGENCIES", "THEMES", "fill_master_data", "shared_database"]

#: key -> name; "mec" is the agency of `rows.article`.
AGENCIES = {"mec": "Ministério da Educação", "aeb": "Agência Espacial Brasileira"}
#: code -> label. One label stands under two codes, and parents need not have children.
THEMES = {
    "01": "Economia",
    "01.01": "Economia",
    "01.01.02": 'Juros, câmbio e "spread"',
    "02": "Educação - geral",
    "04": "Segurança",
    "04.02": "Fronteiras",
    "04.04": "Polícia",
    "04.04.05": "Operações",
}


def fill_master_data(connection: Connection[Any]) -> None:
    """Put AGENCIES and THEMES into a database."""
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO agencies (key, name) VALUES (%s, %s)", list(AGENCIES.items()))
        cursor.executemany(
            "INSERT INTO themes (code, label, full_name, level, parent_code) VALUES (%s, %s, %s, %s, %s)",
            [
                (code, label, f"{code} - {label}", code.count(".") + 1, code.rpartition(".")[0] or None)
                for code, label in THEMES.items()
            ],
        )


@contextmanager
def shared_database(server: EmbeddedPostgres, *, schema: bool = True) -> Iterator[str]:
    """Make a database, with schema and master data unless told otherwise, and remove it at the end."""
    name = f"shared_{secrets.token_hex(6)}"
    url = server.create_database(name)
    try:
        if schema:
            upgrade(url)
            with psycopg.connect(url) as connection:
                fill_master_data(connection)
        yield url
    finally:
        server.drop_database(name)
