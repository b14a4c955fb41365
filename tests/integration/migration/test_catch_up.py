"""The catch-up: what is new comes in, what is newer is followed, what others wrote here is kept (see `merge`)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from data_platform.jobs.migration.account import Account
from tests.support.migrations import Migrations
from tests.support.sources import NO_THEME, Row, article, articles, expected, newer, theme_codes, theme_text
from tests.support.stores import Store


def _uid(number: int) -> str:
    uid: str = article(number)["unique_id"]
    return uid


def _counts(account: Account) -> dict[str, int]:
    """Return what is not zero of what happened to rows."""
    names = (
        "read",
        "loaded",
        "updated",
        "already_present",
        "kept_newer",
        "duplicates",
        "rejected",
        "vanished",
        "remarked",
    )
    return {name: count for name in names if (count := getattr(account, name))}


def _same_article(number: int, as_number: int, **cells: Any) -> Row:
    """Return a row that has its own id but the address of another article."""
    other = article(as_number)
    return article(number, agency=other["agency"], url=other["url"], **cells)


class TestUntouchedRows:
    """Rows that no one but a migration has written follow the source in every column."""

    def test_new_rows_come_in_and_the_others_are_not_touched(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(articles(20), validate=False)
        versions = store.versions()
        rows = articles(30)
        outcome = migrations.bring(rows[:10], rows[10:])
        assert _counts(outcome.account) == {"read": 30, "loaded": 10, "already_present": 20}
        assert store.published() == {row["unique_id"]: expected(row) for row in rows}
        assert {uid: version for uid, version in store.versions().items() if uid in versions} == versions
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"

    def test_any_cell_is_followed(self, migrations: Migrations, store: Store) -> None:
        changes: list[Row] = [
            {"title": "Outro título"},
            {"content": None},
            {"subtitle": "Era outro"},
            {"tags": []},
            {"tags": None},
            {"tags": ["uma", "duas", "três, com vírgula"]},
            {"url": "https://www.gov.br/saude/pt-br/outra"},
            {"agency": "agencia-nova"},
            {"published_at": article(8)["published_at"] + timedelta(microseconds=1)},
            {"updated_datetime": article(0)["updated_datetime"]},
            {"image": None, "category": None, "video_url": "https://video", "editorial_lead": "Programa"},
            theme_codes("05.02.03"),
            theme_text("01"),
            NO_THEME,
            {"theme_1_level_1": "05 - Rótulo que a árvore não tem"},
            {"summary": "Outro resumo"},
        ]
        rows = [article(number, tags=["a"]) for number in range(len(changes) + 2)]
        migrations.bring(rows, validate=False)
        before, published = store.versions(), store.published()
        rows = [newer(row, **change) for row, change in zip(rows, [*changes, {}, {}], strict=True)]
        outcome = migrations.bring(rows)
        assert _counts(outcome.account) == {"read": 18, "updated": 16, "already_present": 2}
        assert outcome.account.stub_agencies == {"agencia-nova": 1}
        after, found = store.versions(), store.published()
        for row, change in zip(rows, [*changes, {}, {}], strict=True):
            uid = row["unique_id"]
            if set(change) <= {*NO_THEME, "summary"}:  # no scraper column changed, so extracted_at stays
                row["extracted_at"] = published[uid]["extracted_at"]
            assert found[uid] == expected(row)
            if not change:
                assert after[uid] == before[uid]
                continue
            assert after[uid]["change_xid"] > before[uid]["change_xid"]
            assert after[uid]["updated_at"] > before[uid]["updated_at"]
            assert after[uid]["id"] == before[uid]["id"]
        assert outcome.validation is not None
        assert outcome.validation.passed

    def test_the_source_is_followed_even_back_in_time_and_to_nothing(
        self, migrations: Migrations, store: Store
    ) -> None:
        rows = articles(4)
        migrations.bring(rows, validate=False)
        rows[3] = newer(rows[3], hours=-48, summary=None, subtitle=None, **NO_THEME)
        assert _counts(migrations.bring(rows).account) == {"read": 4, "updated": 1, "already_present": 3}
        assert store.published()[_uid(3)] == expected(rows[3])

    def test_extracted_at_by_itself_is_no_change(self, migrations: Migrations, store: Store) -> None:
        rows = articles(6)
        migrations.bring(rows, validate=False)
        versions = store.versions()
        outcome = migrations.bring([newer(row) for row in rows])
        assert _counts(outcome.account) == {"read": 6, "already_present": 6}
        assert outcome.account.changed_nothing
        assert store.versions() == versions
        assert outcome.validation is not None
        assert outcome.validation.passed
        assert outcome.validation.explained_by_kind == {"by_itself:extracted_at": 6}

    def test_changes_are_followed_time_after_time(self, migrations: Migrations, store: Store) -> None:
        rows = articles(4)
        for turn in range(4):
            rows[1] = newer(rows[1], title=f"Título {turn}", summary=f"Resumo {turn}" if turn % 2 else None)
            migrations.bring(rows, validate=False)
            assert store.published()[_uid(1)] == expected(rows[1])

    def test_what_became_unfit_stays_as_it_was_and_is_rejected(self, migrations: Migrations, store: Store) -> None:
        rows = articles(4)
        migrations.bring(rows, validate=False)
        rows[2] = newer(rows[2], title=None)
        outcome = migrations.bring(rows, max_reject_rate=1)
        assert outcome.account.rejected_by_reason == {"title_missing": 1}
        assert outcome.account.vanished == 1
        assert store.published()[_uid(2)] == expected(article(2))

    def test_a_move_to_another_month_leaves_a_tombstone(self, migrations: Migrations, store: Store) -> None:
        rows = articles(2)
        migrations.bring(rows, validate=False)
        old = store.derived()[_uid(1)]["published_date"]
        rows[1] = newer(rows[1], published_at=rows[1]["published_at"] + timedelta(days=90))
        migrations.bring(rows, validate=False)
        assert store.query("SELECT unique_id, published_month, reason FROM news_tombstones") == [
            {"unique_id": _uid(1), "published_month": old.replace(day=1), "reason": "moved"}
        ]

    def test_duplicates_in_the_source_count_again(self, migrations: Migrations, store: Store) -> None:
        rows = articles(4)
        migrations.bring(rows, validate=False)
        changed = newer(rows[1], title="Versão nova")
        outcome = migrations.bring(rows, [changed, newer(rows[2])])
        assert _counts(outcome.account) == {"read": 6, "updated": 1, "already_present": 3, "duplicates": 2}
        assert outcome.account.duplicates_by_kind == {"same_content": 1, "other_content": 1}
        assert store.published()[_uid(1)] == expected(changed)
        assert [reject["reason"] for reject in store.rejects()] == ["superseded"]


class TestVanishedRows:
    def test_they_are_reported_and_kept(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(articles(10), validate=False)
        versions = store.versions()
        outcome = migrations.bring(articles(7))
        assert outcome.account.vanished == 3
        assert set(outcome.account.vanished_sample) == {_uid(7), _uid(8), _uid(9)}
        assert store.versions() == versions
        assert outcome.validation is not None
        assert outcome.validation.only_in_target == 3
        assert set(outcome.validation.only_in_target_sample) == {_uid(7), _uid(8), _uid(9)}

    def test_one_that_comes_back_is_there_already(self, migrations: Migrations) -> None:
        migrations.bring(articles(4), validate=False)
        migrations.bring(articles(3), validate=False)
        assert _counts(migrations.bring(articles(4)).account) == {"read": 4, "already_present": 4}


class TestRowsThatOthersWrote:
    """Of rows that were changed here since, the source takes nothing away that it does not have."""

    def test_themes_and_summary_of_enrichment_stay(self, migrations: Migrations, store: Store) -> None:
        rows = [article(number, **NO_THEME, summary=None) for number in range(3)]
        migrations.bring(rows, validate=False)
        _enrich(store, 1)
        versions = store.versions()
        outcome = migrations.bring(rows)
        assert _counts(outcome.account) == {"read": 3, "already_present": 3, "kept_newer": 1}
        assert store.versions() == versions
        assert outcome.validation is not None  # the two sides do differ, and that is said
        assert {d["column"] for d in outcome.validation.differences} >= {"theme_1_level_1_code", "summary"}

    @pytest.mark.parametrize("again", [1, 2])
    def test_a_newer_text_comes_in_beside_them(self, again: int, migrations: Migrations, store: Store) -> None:
        rows = [article(number, **NO_THEME, summary=None) for number in range(3)]
        migrations.bring(rows, validate=False)
        _enrich(store, 1)
        enriched = store.published()[_uid(1)]
        for turn in range(again):
            rows[1] = newer(rows[1], title=f"Título {turn}")
            outcome = migrations.bring(rows, validate=False)
            assert _counts(outcome.account) == {"read": 3, "updated": 1, "already_present": 2}
        assert store.published()[_uid(1)] == enriched | {
            "title": f"Título {again - 1}",
            "extracted_at": rows[1]["extracted_at"],
        }
        versions = store.versions()
        assert _counts(migrations.run(validate=False).account) == {"read": 3, "already_present": 3, "kept_newer": 1}
        assert store.versions() == versions

    def test_a_theme_that_the_source_has_is_followed(self, migrations: Migrations, store: Store) -> None:
        rows = [article(1, **NO_THEME, summary=None)]
        migrations.bring(rows, validate=False)
        _enrich(store, 1)
        rows[0] = newer(rows[0], **theme_codes("01.01.01"))
        assert _counts(migrations.bring(rows, validate=False).account) == {"read": 1, "updated": 1}
        published = store.published()[_uid(1)]
        assert published["most_specific_theme_code"] == "01.01.01"
        assert published["summary"] == "Resumo daqui"

    def test_a_summary_that_the_source_has_is_followed(self, migrations: Migrations, store: Store) -> None:
        rows = [article(1, **NO_THEME, summary=None)]
        migrations.bring(rows, validate=False)
        _enrich(store, 1)
        rows[0] = newer(rows[0], summary="Resumo de lá")
        migrations.bring(rows, validate=False)
        published = store.published()[_uid(1)]
        assert published["summary"] == "Resumo de lá"
        assert published["most_specific_theme_code"] == "05.02.03"

    def test_a_text_that_is_newer_here_stays(self, migrations: Migrations, store: Store) -> None:
        rows = articles(3)
        migrations.bring(rows, validate=False)
        store.execute("UPDATE news SET title = 'Título daqui', extracted_at = extracted_at + interval '2 days'")
        versions = store.versions()
        rows[1] = newer(rows[1], content="Texto de lá")
        outcome = migrations.bring(rows, validate=False)
        assert _counts(outcome.account) == {"read": 3, "already_present": 3, "kept_newer": 3}
        assert store.versions() == versions

    @pytest.mark.parametrize("hours", [48, 72])
    def test_a_text_that_is_newer_in_the_source_is_followed(
        self, hours: int, migrations: Migrations, store: Store
    ) -> None:
        """As new counts as newer: the source is where the scraper wrote until now."""
        rows = articles(3)
        migrations.bring(rows, validate=False)
        store.execute("UPDATE news SET title = 'Título daqui', extracted_at = extracted_at + interval '2 days'")
        rows[1] = newer(rows[1], hours=hours, content="Texto de lá")
        assert migrations.bring(rows, validate=False).account.updated == 1
        assert store.published()[_uid(1)] == expected(rows[1])

    def test_a_row_that_was_made_here_follows_these_rules_too(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(articles(2), validate=False)
        store.execute(
            "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, extracted_at, title,"
            " summary)"
            f" SELECT '{_uid(9)}', id, key, name, now(), '2025-12-01Z', 'Daqui', 'Resumo daqui' FROM agencies"
            " WHERE key = 'mre'"
        )
        rows = [*articles(2), article(9)]
        made = store.published()[_uid(9)]
        assert _counts(migrations.bring(rows, validate=False).account) == {
            "read": 3,
            "updated": 1,
            "already_present": 2,
        }
        # article(9) is extracted earlier: its text waits, but its theme and summary are more than ours has.
        themes = {name: article(9)[name] for name in (*NO_THEME, "summary")}
        assert store.published()[_uid(9)] == made | themes

    def test_a_row_deleted_here_is_new_again(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(articles(3), validate=False)
        store.execute(f"DELETE FROM news WHERE unique_id = '{_uid(1)}'")
        outcome = migrations.bring(articles(3))
        assert _counts(outcome.account) == {"read": 3, "loaded": 1, "already_present": 2}
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"

    def test_the_dry_run_says_what_the_run_would_do(self, migrations: Migrations, store: Store) -> None:
        rows = [article(number, **NO_THEME, summary=None) for number in range(6)]
        migrations.bring(rows, validate=False)
        _enrich(store, 1)
        _enrich(store, 2)
        store.execute(
            "UPDATE news SET title = 'Daqui', extracted_at = extracted_at + interval '9 days'"
            f" WHERE unique_id = '{_uid(3)}'"
        )
        rows[2] = newer(rows[2], title="Outro")
        rows[3] = newer(rows[3], agency="agencia-nova")
        rows[4] = newer(rows[4], title="Outro")
        rows.append(article(7))
        migrations.write(rows)
        whole = store.contents()
        dry = migrations.run(dry_run=True)
        assert store.contents() == whole
        real = migrations.run(validate=False)
        assert _counts(real.account) == {
            "read": 7, "loaded": 1, "updated": 2, "already_present": 4, "kept_newer": 2,
        }  # fmt: skip
        assert _counts(dry.account) == _counts(real.account)


def _enrich(store: Store, number: int) -> None:
    """Write a theme and a summary, as enrichment does."""
    touched = store.execute(
        f"""
        UPDATE news SET theme_form = 'codes', summary = 'Resumo daqui',
               theme_l1_id = (SELECT id FROM themes WHERE code = '05'),
               theme_l2_id = (SELECT id FROM themes WHERE code = '05.02'),
               theme_l3_id = (SELECT id FROM themes WHERE code = '05.02.03'),
               most_specific_theme_id = (SELECT id FROM themes WHERE code = '05.02.03')
         WHERE unique_id = '{_uid(number)}'
        """
    )
    assert touched == 1


class TestOneArticleUnderSeveralIds:
    """The primary is the row with the earliest extracted_at, then the smallest id; the others are marked."""

    def marks(self, store: Store) -> dict[str, str]:
        return {uid: row["duplicate_of"] for uid, row in store.derived().items() if row["duplicate_of"]}

    def test_a_double_that_comes_later_is_marked(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(articles(4), validate=False)
        outcome = migrations.bring(articles(4), [_same_article(50, 2)])
        assert _counts(outcome.account) == {"read": 5, "loaded": 1, "already_present": 4}
        assert outcome.account.url_doubles == 1
        assert self.marks(store) == {_uid(50): _uid(2)}
        assert store.published()[_uid(50)] == expected(_same_article(50, 2))

    def test_a_double_that_was_extracted_earlier_becomes_the_primary(
        self, migrations: Migrations, store: Store
    ) -> None:
        rows = [*articles(4), _same_article(50, 2)]
        migrations.bring(rows, validate=False)
        assert self.marks(store) == {_uid(50): _uid(2)}
        rows.append(_same_article(51, 2, extracted_at=datetime(2025, 1, 1)))  # noqa: DTZ001 - as published
        outcome = migrations.bring(rows)
        assert _counts(outcome.account) == {"read": 6, "loaded": 1, "already_present": 5, "remarked": 3}
        assert self.marks(store) == {_uid(2): _uid(51), _uid(50): _uid(51)}
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"
        versions = store.versions()
        assert migrations.run(validate=False).account.changed_nothing
        assert store.versions() == versions

    def test_of_two_extracted_at_once_the_smaller_id_is_first(self, migrations: Migrations, store: Store) -> None:
        rows = articles(4)
        for number in (60, 61, 62):
            rows.append(_same_article(number, 2, extracted_at=rows[2]["extracted_at"]))
        migrations.bring(rows, validate=False)
        ids = sorted(_uid(number) for number in (2, 60, 61, 62))
        assert self.marks(store) == dict.fromkeys(ids[1:], ids[0])

    def test_forms_of_one_address_are_one_article(self, migrations: Migrations, store: Store) -> None:
        rows = articles(3)
        for number, tail in ((70, "/"), (71, "/view"), (72, "?utm_source=x"), (73, "#topo")):
            rows.append(_same_article(number, 2) | {"url": rows[2]["url"].replace("https", "http") + tail})
        migrations.bring(rows, validate=False)
        assert self.marks(store) == {_uid(number): _uid(2) for number in (70, 71, 72, 73)}

    def test_one_address_at_two_agencies_is_two_articles(self, migrations: Migrations, store: Store) -> None:
        rows = articles(3)
        rows.append(_same_article(50, 2) | {"agency": "mre"})
        migrations.bring(rows, validate=False)
        assert self.marks(store) == {}

    def test_rows_without_an_address_are_articles_of_their_own(self, migrations: Migrations, store: Store) -> None:
        migrations.bring(
            [article(n, url=url) for n, url in enumerate([None, None, "No URL", "", "ftp://x", "ftp://x"])]
        )
        assert self.marks(store) == {}

    def test_a_row_that_moves_to_an_article_becomes_its_double(self, migrations: Migrations, store: Store) -> None:
        rows = articles(6)
        migrations.bring(rows, validate=False)
        rows[5] = newer(rows[5], url=rows[2]["url"])  # both of agency saude
        outcome = migrations.bring(rows)
        assert _counts(outcome.account) == {"read": 6, "updated": 1, "already_present": 5}
        assert self.marks(store) == {_uid(5): _uid(2)}

    def test_a_row_that_moves_away_is_a_double_no_more(self, migrations: Migrations, store: Store) -> None:
        rows = [*articles(6), _same_article(50, 2)]
        migrations.bring(rows, validate=False)
        rows[6] = newer(rows[6], url="https://www.gov.br/saude/outra")
        migrations.bring(rows, validate=False)
        assert self.marks(store) == {}

    def test_a_primary_that_moves_away_leaves_an_heir(self, migrations: Migrations, store: Store) -> None:
        rows = [*articles(3), _same_article(50, 2), _same_article(51, 2)]
        migrations.bring(rows, validate=False)
        rows[2] = newer(rows[2], url="https://www.gov.br/saude/outra")
        migrations.bring(rows, validate=False)
        first, second = sorted((50, 51))
        assert self.marks(store) == {_uid(second): _uid(first)}

    def test_two_rows_may_change_places(self, migrations: Migrations, store: Store) -> None:
        rows = articles(6)
        migrations.bring(rows, validate=False)
        rows[2], rows[5] = newer(rows[2], url=rows[5]["url"]), newer(rows[5], url=rows[2]["url"])
        outcome = migrations.bring(rows)
        assert _counts(outcome.account)["updated"] == 2
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"
        assert self.marks(store) == {}

    @pytest.mark.parametrize("files", [1, 2])
    def test_a_new_row_may_take_the_address_that_another_leaves(
        self, files: int, migrations: Migrations, store: Store
    ) -> None:
        rows = articles(6)
        migrations.bring(rows, validate=False)
        taken = rows[2]["url"]
        rows[2] = newer(rows[2], url="https://www.gov.br/saude/outra")
        new = article(50, agency="saude", url=taken)
        outcome = migrations.bring(*([[new, *rows]] if files == 1 else [[new], rows]))
        assert outcome.account.loaded == 1
        assert outcome.account.url_doubles == 0
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"
        assert self.marks(store) == {}

    def test_rows_may_move_up_in_a_row(self, migrations: Migrations, store: Store) -> None:
        rows = [article(3 * n) for n in range(8)]  # all of one agency
        migrations.bring(rows, validate=False)
        urls = [row["url"] for row in rows]
        rows = [newer(row, url=url) for row, url in zip(rows, [*urls[1:], "https://www.gov.br/mre/nova"], strict=True)]
        outcome = migrations.bring(rows)
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"
        assert self.marks(store) == {}

    def test_an_address_that_is_kept_here_marks_nobody(self, migrations: Migrations, store: Store) -> None:
        """A row that is newer here stays at its address, so the source's other address makes it no double."""
        rows = articles(6)
        migrations.bring(rows, validate=False)
        store.execute(f"UPDATE news SET title = 'Daqui', extracted_at = '2025-12-24Z' WHERE unique_id = '{_uid(5)}'")
        versions = store.versions()
        rows[5] = newer(rows[5], url=rows[2]["url"])
        outcome = migrations.bring(rows, validate=False)
        assert _counts(outcome.account) == {"read": 6, "already_present": 6, "kept_newer": 1}
        assert self.marks(store) == {}
        assert store.versions() == versions

    def test_rows_that_were_marked_anew_still_follow_the_source(self, migrations: Migrations, store: Store) -> None:
        rows = articles(4)
        migrations.bring(rows, validate=False)
        rows.append(_same_article(50, 3, extracted_at=datetime(2025, 1, 1)))  # noqa: DTZ001 - as published
        assert migrations.bring(rows, validate=False).account.remarked == 2
        assert self.marks(store) == {_uid(3): _uid(50)}
        rows[3] = newer(rows[3], hours=-1, title="Outro", summary=None, **NO_THEME)
        rows[4] = newer(rows[4], hours=-1, title="Outro", subtitle=None)
        outcome = migrations.bring(rows)
        assert _counts(outcome.account) == {"read": 5, "updated": 2, "already_present": 3}
        assert outcome.validation is not None
        assert outcome.validation.verdict == "equal"

    def test_marking_anew_makes_no_row_ours_that_another_wrote(self, migrations: Migrations, store: Store) -> None:
        rows = [article(number, **NO_THEME, summary=None) for number in range(4)]
        migrations.bring(rows, validate=False)
        _enrich(store, 3)
        rows.append(_same_article(50, 3, extracted_at=datetime(2025, 1, 1)))  # noqa: DTZ001 - as published
        migrations.bring(rows, validate=False)
        assert self.marks(store) == {_uid(3): _uid(50)}
        rows[3] = newer(rows[3], title="Outro")
        migrations.bring(rows, validate=False)
        published = store.published()[_uid(3)]
        assert (published["title"], published["summary"]) == ("Outro", "Resumo daqui")
        assert published["most_specific_theme_code"] == "05.02.03"
