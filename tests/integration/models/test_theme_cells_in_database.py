"""Theme cells through the store and the real view: whatever nine cells came, the same nine are published."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.managers.postgres.binary_copy import copy_rows
from data_platform.managers.postgres.news_table import NEWS_COLUMNS, Catalogue, news_rows
from data_platform.models.admission import clean
from data_platform.models.columns import THEME_COLUMNS
from data_platform.models.theme_cells import rebuild_first_level
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.databases import THEMES, shared_database
from tests.support.rows import article, batch_of, sliced, texts

Cells = tuple[str | None, ...]
TEXT, C1, L1, C2, L2, C3, L3, CM, LM = range(9)


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with shared_database(postgres) as url, psycopg.connect(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def catalogue(connection: psycopg.Connection) -> Catalogue:
    return Catalogue.read(connection)


_codes = st.sampled_from([*THEMES, "77", "77.01", "01.99", "1", ""])
_labels = st.sampled_from([*THEMES.values(), "Outra", "", 'a"b\\c\u2028', "{}"]) | texts
_full = st.sampled_from([f"{code} - {label}" for code, label in THEMES.items()])
_first = _full | _labels | st.builds("{} - {}".format, _codes, _labels)


def _level(*codes: str) -> st.SearchStrategy[Cells]:
    """Draw code and label of one level: from the tree, at odds with it, or one of the two alone."""
    known = st.sampled_from(codes).map(lambda code: (code, THEMES[code]))
    loose = st.tuples(st.none() | _codes, st.none() | _labels)
    return known | known | loose | st.just((None, None))


@st.composite
def theme_cells(draw: st.DrawFn) -> Cells:
    first, second, third = (
        draw(_level("01", "02")),
        draw(_level("01.01", "04.02")),
        draw(_level("01.01.02", "04.04.05")),
    )
    deepest = third if third[0] else second if second[0] else first
    most = draw(st.just(deepest) | _level(*THEMES))
    own_text = st.just(f"{first[0]} - {first[1]}") if first[0] else st.none()
    return (draw(own_text | own_text | st.none() | _first), *first, *second, *third, *most)


@settings(max_examples=50, deadline=None)
@given(st.lists(theme_cells(), min_size=1, max_size=8), st.booleans())
def test_what_is_published_is_what_came(
    connection: psycopg.Connection, catalogue: Catalogue, drawn: list[Cells], cut: bool
) -> None:
    batch = batch_of([article(f"{n}") | dict(zip(THEME_COLUMNS, cells, strict=True)) for n, cells in enumerate(drawn)])
    batch = sliced(batch) if cut else batch
    text, _ = rebuild_first_level(batch, catalogue.themes)
    batch = batch.set_column(batch.schema.get_field_index(THEME_COLUMNS[0]), THEME_COLUMNS[0], text)
    assert published(connection, catalogue, batch) == [
        tuple(row[name] for name in THEME_COLUMNS) for row in batch.to_pylist()
    ]


def published(connection: psycopg.Connection, catalogue: Catalogue, batch: object) -> list[Cells]:
    """Store rows, read their theme cells from the view, and forget the rows."""
    made = news_rows(batch, catalogue, duplicate_of={})
    with connection.transaction(force_rollback=True):
        copy_rows(connection, "news", NEWS_COLUMNS, [made])
        query = f"SELECT {', '.join(THEME_COLUMNS)} FROM news_published ORDER BY unique_id"
        return connection.execute(query).fetchall()


FULL: Cells = (
    "04 - Segurança",
    "04",
    "Segurança",
    "04.02",
    "Fronteiras",
    "04.04.05",
    "Operações",
    "04.04.05",
    "Operações",
)


@pytest.mark.parametrize(
    ("cells", "form", "beside"),
    [
        pytest.param((None,) * 9, None, False, id="nothing"),
        pytest.param(("02 - Educação - geral", *(None,) * 8), "text", False, id="text only, as nine in ten"),
        pytest.param(FULL, "codes", False, id="levels disagree, as in a real row"),
        pytest.param(("77 - Nova", "77", "Nova", *(None,) * 4, "77", "Nova"), None, True, id="unknown code"),
        pytest.param(("04 - Outra", *FULL[1:]), None, True, id="other label in the text"),
        pytest.param((*FULL[:7], "04", "Segurança"), "codes", False, id="most specific above the deepest"),
        pytest.param((*FULL[:7], None, None), None, True, id="no most specific"),
    ],
)
def test_how_the_store_holds_them(
    connection: psycopg.Connection, catalogue: Catalogue, cells: Cells, form: str | None, beside: bool
) -> None:
    """Fault 14: what the tree does not have is kept and published; fault 42: published by one rule."""
    batch = clean(batch_of([article() | dict(zip(THEME_COLUMNS, cells, strict=True))]), catalogue.themes).batch
    assert published(connection, catalogue, batch) == [cells]
    columns = dict(zip((name for name, _ in NEWS_COLUMNS), news_rows(batch, catalogue, duplicate_of={}), strict=True))
    assert columns["theme_form"].to_pylist() == [form]
    assert (columns["theme_cells"].null_count == 0) is beside


def test_a_row_of_each_form_follows_its_theme_s_new_name(connection: psycopg.Connection, catalogue: Catalogue) -> None:
    """What was kept beside the ids is what came, and stays."""
    rows = [("02 - Educação - geral", *(None,) * 8), ("02 - Educação - geral", "02", "Educação - geral", *(None,) * 4)]
    rows = [rows[0], (*rows[1], "02", "Educação - geral"), (*rows[1], None, None)]
    batch = batch_of([article(f"{n}") | dict(zip(THEME_COLUMNS, c, strict=True)) for n, c in enumerate(rows)])
    made = news_rows(batch, catalogue, duplicate_of={})
    with connection.transaction(force_rollback=True):
        copy_rows(connection, "news", NEWS_COLUMNS, [made])
        connection.execute("UPDATE themes SET label = 'Ensino', full_name = '02 - Ensino' WHERE code = '02'")
        query = f"SELECT {', '.join(THEME_COLUMNS)} FROM news_published ORDER BY unique_id"
        assert connection.execute(query).fetchall() == [
            ("02 - Ensino", *(None,) * 8),
            ("02 - Ensino", "02", "Ensino", *(None,) * 4, "02", "Ensino"),
            rows[2],
        ]
