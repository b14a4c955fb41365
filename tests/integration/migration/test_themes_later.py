"""Codes that the tree lacked are kept as text; when the tree has them, the next catch-up files the rows."""

from __future__ import annotations

import psycopg

from data_platform.jobs.master_data import populate_themes
from data_platform.models.themes import Theme
from tests.support.migrations import Migrations
from tests.support.sources import article, articles, theme_codes
from tests.support.stores import Store

UNKNOWN = {
    **theme_codes("01.01.01"),
    "theme_1_level_1": "02 - Educação",
    "theme_1_level_1_code": "02",
    "theme_1_level_1_label": "Educação",
    "theme_1_level_2_code": "02.01",
    "theme_1_level_2_label": "Ensino Básico",
    "theme_1_level_3_code": "02.01.01",
    "theme_1_level_3_label": "Alfabetização",
    "most_specific_theme_code": "02.01.01",
    "most_specific_theme_label": "Alfabetização",
}
LATER = (
    Theme("02", "Educação", 1),
    Theme("02.01", "Ensino Básico", 2, "02"),
    Theme("02.01.01", "Alfabetização", 3, "02.01"),
)


def test_rows_of_a_code_that_the_tree_learns_are_filed_by_the_next_catch_up(
    migrations: Migrations, store: Store
) -> None:
    rows = [*articles(6), article(7, **UNKNOWN), article(8, **UNKNOWN)]
    first = migrations.bring(rows)
    assert first.account.unknown_themes == {"02": 2, "02.01": 2, "02.01.01": 2}
    assert store.value("SELECT count(*) FROM news WHERE theme_cells IS NOT NULL AND theme_l1_id IS NULL") == 2

    with psycopg.connect(store.url) as connection:
        populate_themes(connection, LATER)
    second = migrations.run()
    assert (second.account.updated, second.account.already_present) == (2, 6)
    assert second.account.unknown_themes == {}
    assert second.validation is not None
    assert (second.validation.verdict, second.validation.equal) == ("equal", 8)
    filed = store.query(
        "SELECT t1.code AS l1, t2.code AS l2, t3.code AS l3, m.code AS most, theme_form, theme_cells FROM news"
        " JOIN themes t1 ON t1.id = theme_l1_id JOIN themes t2 ON t2.id = theme_l2_id"
        " JOIN themes t3 ON t3.id = theme_l3_id JOIN themes m ON m.id = most_specific_theme_id"
        " WHERE unique_id = %s",
        rows[6]["unique_id"],
    )
    assert filed == [
        {"l1": "02", "l2": "02.01", "l3": "02.01.01", "most": "02.01.01", "theme_form": "codes", "theme_cells": None}
    ]

    before = store.versions()
    third = migrations.run()
    assert third.account.changed_nothing
    assert store.versions() == before
