"""What is damaged in the table, or forgotten in the account, is named by the validation: key, column, both values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from data_platform.cli import ATTENTION
from data_platform.jobs.migration.validation import ValidationResult
from data_platform.models.admission import Cleaned, clean
from data_platform.models.columns import COLUMN_NAMES
from data_platform.sources import judged
from tests.support.command_line import Command
from tests.support.migrations import Migrations
from tests.support.sources import NO_THEME, Row, article, articles, expected, newer, theme_codes, theme_text
from tests.support.stores import Store


def _uid(number: int) -> str:
    uid: str = article(number)["unique_id"]
    return uid


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _differences(result: ValidationResult) -> dict[tuple[str, str], tuple[Any, Any]]:
    found = {(d["unique_id"], d["column"]): (d["source"], d["target"]) for d in result.differences}
    assert len(found) == len(result.differences)
    return found


def _adds_up(result: ValidationResult) -> bool:
    return result.source_rows == result.equal + result.explained + result.only_in_source + result.different


@pytest.fixture
def loaded(migrations: Migrations) -> list[Row]:
    """Thirty rows, proven equal."""
    rows = articles(30)
    rows[0] |= {"tags": ["um", "dois"]}
    outcome = migrations.bring(rows[:10], rows[10:])
    assert outcome.validation is not None
    assert (outcome.validation.verdict, outcome.validation.equal) == ("equal", 30)
    return rows


#: Statement by which a row is damaged -> columns of the row that differ then.
_DAMAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("content = overlay(content PLACING 'x' FROM char_length(content) / 2 FOR 1)", ("content",)),
    ("content = content || ' '", ("content",)),
    ("content = NULL", ("content",)),
    ("title = replace(title, 'ç', 'c')", ("title",)),
    ("published_at = published_at + interval '1 microsecond'", ("published_at",)),
    ("published_at = published_at - interval '1 hour'", ("published_at",)),
    ("updated_datetime = coalesce(updated_datetime, '2025-11-20Z') + interval '1 day'", ("updated_datetime",)),
    ("theme_l1_id = (SELECT id FROM themes WHERE code = '01')", ("theme_1_level_1",)),
    (
        "theme_l3_id = (SELECT id FROM themes WHERE code = '05.02.03')",
        ("theme_1_level_3_code", "theme_1_level_3_label"),
    ),
    (
        "most_specific_theme_id = (SELECT id FROM themes WHERE code = '20')",
        ("most_specific_theme_code", "most_specific_theme_label"),
    ),
    ("tags[1] = 'outra'", ("tags",)),
    ("tags = array_append(tags, 'mais')", ("tags",)),
    ("tags = ARRAY[tags[2], tags[1]]", ("tags",)),
    ("tags = NULL", ("tags",)),
    ("summary = ''", ("summary",)),
    ("summary = NULL", ("summary",)),
    ("agency_key = 'aeb'", ("agency",)),
    ("url = url || '/'", ("url",)),
    ("image_url = video_url, video_url = image_url", ("image", "video_url")),
    ("category = 'Noticias'", ("category",)),
    ("subtitle = editorial_lead, editorial_lead = coalesce(subtitle, 'x')", ("subtitle", "editorial_lead")),
)


def test_every_damaged_cell_is_named_and_no_other(migrations: Migrations, store: Store, command: Command) -> None:
    themes = {"theme_l1_id": theme_text("05"), "theme_l3_id": theme_codes("01.01.01")}
    rows = []
    for number, (damage, _) in enumerate(_DAMAGES):
        themed = theme_codes("01.01") if damage.startswith("most") else themes.get(damage.split(" ")[0], {})
        rows.append(
            article(number, agency="mre", tags=["um", "dois"], summary="Resumo", subtitle=f"S {number}", **themed)
        )
    migrations.bring(rows, articles(9, first=50), validate=False)
    for row, (damage, _) in zip(rows, _DAMAGES, strict=True):
        statement = f"UPDATE news SET {damage} WHERE unique_id = '{row['unique_id']}'"
        assert store.execute(statement, behind_triggers=True) == 1
    damaged = store.published()

    result = migrations.validate()
    assert result.verdict == "different"
    assert not result.passed
    assert (result.different, result.equal, result.explained, result.unaccounted) == (len(_DAMAGES), 9, 0, 0)
    assert _adds_up(result)
    assert _differences(result) == {
        (row["unique_id"], column): (_plain(expected(row)[column]), _plain(damaged[row["unique_id"]][column]))
        for row, (_, columns) in zip(rows, _DAMAGES, strict=True)
        for column in columns
    }
    ran = command("validate", "--source", str(migrations.folder), "--parallel", "1")
    assert ran.status == ATTENTION
    assert ran.result["verdict"] == "different"
    assert len(ran.result["differences"]) == len(result.differences)
    stored = store.query("SELECT verdict, result ->> 'different' AS different FROM validations ORDER BY id")
    assert [(s["verdict"], s["different"]) for s in stored] == [("different", str(len(_DAMAGES)))] * 2


def test_a_dropped_row_is_named(loaded: list[Row], migrations: Migrations, store: Store) -> None:
    store.execute(f"DELETE FROM news WHERE unique_id IN ('{_uid(3)}', '{_uid(22)}')", behind_triggers=True)
    result = migrations.validate()
    assert (result.verdict, result.equal, result.unaccounted, result.only_in_source) == ("different", 28, 2, 2)
    assert _differences(result) == {(_uid(n), "(whole row)"): ("present", "missing") for n in (3, 22)}
    assert _adds_up(result)


def test_an_extra_row_is_named(loaded: list[Row], migrations: Migrations, store: Store) -> None:
    store.execute(
        "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title)"
        " SELECT 'a-mais', id, key, name, now(), 'A mais' FROM agencies WHERE key = 'mre'"
    )
    result = migrations.validate()
    assert (result.verdict, result.equal, result.only_in_target) == ("different", 30, 1)
    assert list(result.only_in_target_sample) == ["a-mais"]


def test_a_renamed_row_is_lost_on_one_side_and_extra_on_the_other(
    loaded: list[Row], migrations: Migrations, store: Store
) -> None:
    store.execute(f"UPDATE news SET unique_id = 'outro' WHERE unique_id = '{_uid(3)}'")
    result = migrations.validate()
    assert (result.verdict, result.unaccounted, result.only_in_target) == ("different", 1, 1)
    assert _differences(result) == {(_uid(3), "(whole row)"): ("present", "missing")}


def test_rows_that_swapped_all_but_their_ids_are_named(loaded: list[Row], migrations: Migrations, store: Store) -> None:
    store.execute(
        f"UPDATE news SET unique_id = 'x' WHERE unique_id = '{_uid(3)}'",
        f"UPDATE news SET unique_id = '{_uid(3)}' WHERE unique_id = '{_uid(6)}'",
        f"UPDATE news SET unique_id = '{_uid(6)}' WHERE unique_id = 'x'",
        behind_triggers=True,
    )
    result = migrations.validate()
    assert (result.verdict, result.different) == ("different", 2)
    assert {uid for uid, _ in _differences(result)} == {_uid(3), _uid(6)}
    assert {column for _, column in _differences(result)} >= {"title", "url", "content", "published_at"}


@pytest.mark.parametrize("column", ["image", "summary", "updated_datetime", "tags", "category"])
def test_a_column_lost_in_all_rows_shows_in_nulls_and_in_rows(
    column: str, loaded: list[Row], migrations: Migrations, store: Store
) -> None:
    had = [row for row in loaded if row[column] is not None]
    stored = "image_url" if column == "image" else column
    store.execute(f"UPDATE news SET {stored} = NULL", behind_triggers=True)
    result = migrations.validate()
    assert (result.verdict, result.different, result.equal) == ("different", len(had), 30 - len(had))
    missing = 30 - len(had)
    assert result.per_column_nulls[column] == {"source": missing, "cleaned": 0, "expected": missing, "target": 30}
    assert set(_differences(result)) == {(row["unique_id"], column) for row in had}


def test_of_many_differing_rows_all_are_counted_and_the_first_are_shown(migrations: Migrations, store: Store) -> None:
    migrations.bring(articles(300), validate=False)
    store.execute("UPDATE news SET title = title || '.', category = NULL", behind_triggers=True)
    result = migrations.validate()
    assert (result.different, result.equal) == (300, 0)
    assert 50 <= len(result.differences) <= 100


_BESIDE = theme_codes("05.02") | {"theme_1_level_2_label": "Outro"}
#: Published cells, the column that is damaged, the code of the theme put there, and what is told of it.
_MISFILED: tuple[tuple[Row, str, str, tuple[str | None, str | None]], ...] = (
    (theme_text("05"), "most_specific_theme_id", "20", ("05", "20")),
    (theme_text("05"), "most_specific_theme_id", "no theme", ("05", None)),
    (theme_text("05"), "theme_l2_id", "01.01", (None, "01.01")),
    (theme_text("05"), "theme_l3_id", "01.01.01", (None, "01.01.01")),
    (NO_THEME, "most_specific_theme_id", "20", (None, "20")),
    (_BESIDE, "theme_l1_id", "01", ("05", "01")),
    (_BESIDE, "theme_l2_id", "01.01", ("05.02", "01.01")),
    (_BESIDE, "theme_l3_id", "01.01.01", (None, "01.01.01")),
    (_BESIDE, "most_specific_theme_id", "01", ("05.02", "01")),
    (theme_text("05") | {"theme_1_level_1": "05 - Outro"}, "theme_l1_id", "01", ("05", "01")),
)


def test_themes_that_no_published_cell_shows_are_compared_too(migrations: Migrations, store: Store) -> None:
    """Nine rows in ten publish only the text of the first level, but search and the portal read the ids."""
    rows = [article(n, category="No Category", **themes) for n, (themes, *_) in enumerate(_MISFILED)]
    unknown = [
        article(50, **theme_text("05") | {"theme_1_level_1": "77 - Tema novo"}),
        article(51, **theme_codes("05.02") | {"most_specific_theme_code": "77", "most_specific_theme_label": "Novo"}),
        article(52, **theme_codes("05.02") | {"theme_1_level_3_code": "77.01.01"}),
    ]
    outcome = migrations.bring(rows, unknown, articles(6, first=60))
    assert outcome.validation is not None
    assert outcome.validation.passed
    for row, (_, column, code, _) in zip(rows, _MISFILED, strict=True):
        theme = f"(SELECT id FROM themes WHERE code = '{code}')"
        statement = f"UPDATE news SET {column} = {theme} WHERE unique_id = '{row['unique_id']}'"
        assert store.execute(statement, behind_triggers=True) == 1
    result = migrations.validate()
    assert (result.verdict, result.different, result.explained, result.equal) == ("different", len(rows), 0, 9)
    found = _differences(result)
    for row, (_, column, _, told) in zip(rows, _MISFILED, strict=True):
        assert found[row["unique_id"], column] == told
    assert {uid for uid, _ in found} == {row["unique_id"] for row in rows}
    assert _adds_up(result)


class TestDuplicates:
    def rows(self) -> list[Row]:
        return [*articles(5), newer(article(1), title="Versão nova")]

    def test_the_loser_in_the_winners_place_is_named(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(self.rows(), validate=False)
        store.execute(f"UPDATE news SET title = '{article(1)['title']}' WHERE unique_id = '{_uid(1)}'")
        result = migrations.validate()
        assert (result.verdict, result.different) == ("different", 1)
        assert _differences(result) == {(_uid(1), "title"): ("Versão nova", article(1)["title"])}

    def test_a_loser_that_was_not_kept_is_unaccounted_for(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(self.rows(), validate=False)
        assert migrations.validate().verdict == "equal"
        store.execute("DELETE FROM rejects")
        result = migrations.validate()
        assert result.verdict == "different"
        assert result.different + result.unaccounted == 1
        assert _adds_up(result)

    def test_both_lost_are_both_told(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(self.rows(), validate=False)
        store.execute(f"DELETE FROM news WHERE unique_id = '{_uid(1)}'")
        result = migrations.validate()
        assert (result.verdict, result.unaccounted) == ("different", 1)
        assert result.accounted == {"duplicate:superseded": 1}

    def test_one_that_lost_once_is_no_excuse_when_it_is_alone(self, migrations: Migrations, store: Store) -> None:
        """The source went back to the older version: the table's is another, whatever is among the rejects."""
        migrations.bring(self.rows(), validate=False)
        migrations.write(articles(5))
        result = migrations.validate()
        assert (result.verdict, result.different, result.equal) == ("different", 1, 4)
        assert _differences(result)[_uid(1), "title"] == (article(1)["title"], "Versão nova")
        store.execute(f"DELETE FROM news WHERE unique_id = '{_uid(1)}'")
        result = migrations.validate()
        assert (result.verdict, result.unaccounted, result.equal) == ("different", 1, 4)


class TestRejects:
    def test_a_reject_that_is_gone_is_unaccounted_for(self, migrations: Migrations, store: Store) -> None:
        rows = articles(6)
        rows[2] |= {"title": None}
        rows[3] |= {"unique_id": "x" * 121}
        outcome = migrations.bring(rows, max_reject_rate=1)
        assert outcome.validation is not None
        assert outcome.validation.accounted == {"reject:title_missing": 1, "reject:unique_id_too_long": 1}
        assert outcome.validation.verdict == "equal"
        store.execute("DELETE FROM rejects WHERE reason = 'title_missing'")
        result = migrations.validate()
        assert (result.verdict, result.unaccounted) == ("different", 1)
        assert result.accounted == {"reject:unique_id_too_long": 1}
        assert _adds_up(result)

    def test_a_reject_of_another_content_excuses_nothing(self, migrations: Migrations, store: Store) -> None:
        rows = articles(6)
        rows[2] |= {"title": None}
        migrations.bring(rows, max_reject_rate=1, validate=False)
        rows[2] = newer(rows[2])
        migrations.write(rows)
        assert migrations.validate().unaccounted == 1


class TestBrokenCleaning:
    """A cleaning that takes more than it counts is a difference, though both sides agree on the result."""

    def test_a_column_nulled_without_a_mark(
        self, migrations: Migrations, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(batch: pa.RecordBatch, *arguments: Any, **named: Any) -> Cleaned:
            cleaned = clean(batch, *arguments, **named)
            if "subtitle" in cleaned.batch.schema.names:
                at = cleaned.batch.schema.get_field_index("subtitle")
                nothing = pa.nulls(cleaned.batch.num_rows, pa.string())
                cleaned.batch = cleaned.batch.set_column(at, "subtitle", nothing)
            return cleaned

        monkeypatch.setattr(judged, "clean", broken)
        rows = articles(9)
        rows[0] |= {"content": "com \x00 NUL"}
        outcome = migrations.bring(rows)
        result = outcome.validation
        assert result is not None
        assert outcome.needs_attention
        assert (result.verdict, result.different, result.equal) == ("different", 3, 6)
        named = {key: value for key, value in _differences(result).items() if key[1] == "subtitle"}
        assert named == {(_uid(n), "subtitle"): (f"Linha fina {n}", None) for n in (0, 3, 6)}

    def test_a_mark_that_says_too_little(self, migrations: Migrations, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(batch: pa.RecordBatch, *arguments: Any, **named: Any) -> Cleaned:
            cleaned = clean(batch, *arguments, **named)
            cleaned.marks = {key: mask for key, mask in cleaned.marks.items() if key[0] != "sentinel"}
            return cleaned

        monkeypatch.setattr(judged, "clean", broken)
        rows = articles(9)
        rows[4] |= {"category": "No Category"}
        rows[5] |= {"category": "None"}
        result = migrations.bring(rows).validation
        assert result is not None
        assert (result.verdict, result.different, result.explained) == ("different", 1, 1)
        assert _differences(result) == {(_uid(4), "category"): ("No Category", None)}


def test_long_texts_are_shown_where_they_part(migrations: Migrations, store: Store) -> None:
    text = "água " * 100_000
    rows = [article(0, content=text), article(1, content=text), article(2, content="curto")]
    migrations.bring(rows, validate=False)
    store.execute(
        f"UPDATE news SET content = overlay(content PLACING 'X' FROM 300000 FOR 1) WHERE unique_id = '{_uid(0)}'",
        f"UPDATE news SET content = NULL WHERE unique_id = '{_uid(1)}'",
        f"UPDATE news SET content = repeat('longo ', 1000) WHERE unique_id = '{_uid(2)}'",
        behind_triggers=True,
    )
    found = _differences(migrations.validate())
    source, target = found[_uid(0), "content"]
    at = next(i for i, (a, b) in enumerate(zip(source, target, strict=True)) if a != b)
    assert (target[at], source[at - 5 : at]) == ("X", target[at - 5 : at])
    assert len(source) < 1100
    source, target = found[_uid(1), "content"]
    assert source.startswith("água água")
    assert len(source) < 1100
    assert target is None
    assert found[_uid(2), "content"][0] == "curto"


def test_extracted_at_by_itself_is_told_but_no_difference(
    loaded: list[Row], migrations: Migrations, store: Store
) -> None:
    store.execute(
        f"UPDATE news SET extracted_at = extracted_at + interval '1 s' WHERE unique_id = '{_uid(3)}'",
        behind_triggers=True,
    )
    result = migrations.validate()
    assert (result.verdict, result.equal, result.explained) == ("equal after counted cleanings", 29, 1)
    assert result.explained_by_kind == {"by_itself:extracted_at": 1}


def test_all_columns_are_compared(migrations: Migrations, store: Store) -> None:
    """No column can be damaged unseen: not one that somebody adds to the dataset later, either."""
    assert {column for _, columns in _DAMAGES for column in columns} | {
        "unique_id", "extracted_at", "theme_1_level_1_code", "theme_1_level_1_label", "theme_1_level_2_code",
        "theme_1_level_2_label",
    } == set(COLUMN_NAMES)  # fmt: skip
