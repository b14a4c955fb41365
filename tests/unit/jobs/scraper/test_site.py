"""One site: what is opened, what becomes a row, when it stops, and that nothing is dropped without a word."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.jobs.scraper.answers import PageMissingError, TimeBudgetError
from data_platform.jobs.scraper.hosts import HostRefusedError
from data_platform.jobs.scraper.outcome import Note, SiteOutcome, Status
from data_platform.jobs.scraper.problems import (
    AntiBotError,
    EmptyContentError,
    HtmlChangedError,
    NetworkError,
    UrlBrokenError,
)
from data_platform.jobs.scraper.records import Article, Listed, ListingPage
from data_platform.jobs.scraper.site import SiteLimits
from data_platform.models.days import day_of, utc_now
from tests.support.scraping import (
    EMPTY,
    HTML,
    REST,
    SAYS_EMPTY,
    SHELL,
    SITE,
    UNDATED,
    Item,
    Pages,
    days,
    listing_text,
    run_of_days,
    scraped,
)

LAST = date(2026, 2, 5)
WINDOW = days("2026-02-04", "2026-02-05")


def names(outcome: SiteOutcome) -> list[str]:
    return [str(row["title"]) for row in outcome.rows]


# ----------------------------------------------------------------------------------------- which items


def test_a_quiet_day_costs_one_page() -> None:
    web = Pages().listing(run_of_days(LAST - timedelta(days=9), 40), per_page=20)
    outcome = scraped(web, WINDOW)
    assert (outcome.status, outcome.rows, outcome.account.older) == (Status.SUCCESS, (), 20)
    assert web.asked == [SITE.url]


def test_only_items_of_the_window_are_opened() -> None:
    items = [Item("amanha", LAST + timedelta(days=1)), *run_of_days(LAST, 30)]
    outcome = scraped(Pages().listing(items, per_page=16), WINDOW)
    assert names(outcome) == ["n0", "n1"]
    account = outcome.account
    assert (account.newer, account.opened, account.older, account.pages) == (1, 2, 28, 2)
    assert [row["published_at"].date() for row in outcome.rows] == [LAST, LAST - timedelta(days=1)]  # type: ignore[union-attr]
    assert {row["agency"] for row in outcome.rows} == {"aeb"}


def test_pinned_and_back_dated_items_do_not_stop_it() -> None:
    """Faults 28 and 29."""
    items = [Item("fixo", date(2024, 1, 1)), *run_of_days(LAST, 1, per_day=14), Item("antigo", date(2025, 1, 1))]
    items += [*run_of_days(LAST, 1, per_day=3, name="m"), *run_of_days(LAST - timedelta(days=5), 30, name="velho")]
    outcome = scraped(Pages().listing(items), WINDOW)
    assert len(outcome.rows) == 17
    assert outcome.status is Status.SUCCESS


def test_a_listing_that_is_oldest_first_is_read_to_its_end() -> None:
    items = run_of_days(LAST, 60)[::-1]
    outcome = scraped(Pages().listing(items), WINDOW)
    assert names(outcome) == ["n1", "n0"]


def test_items_without_a_date_are_opened_and_the_article_s_day_decides() -> None:
    items = [Item(f"n{number}", own=LAST - timedelta(days=number)) for number in range(40)]
    web = Pages().listing(items)
    outcome = scraped(web, WINDOW)
    assert names(outcome) == ["n0", "n1"]
    assert (outcome.account.opened, outcome.account.outside, outcome.account.pages) == (20, 18, 2)


def test_the_article_s_day_beats_the_listing_s() -> None:
    items = [Item("de-anteontem", LAST, LAST - timedelta(days=2)), *run_of_days(LAST - timedelta(days=3), 20)]
    outcome = scraped(Pages().listing(items), WINDOW)
    assert (outcome.rows, outcome.account.outside) == ((), 1)


def test_an_article_that_nobody_dates_goes_on_without_a_date() -> None:
    """Fault 8: it is neither dropped nor of 1970; a reject keeps it."""
    outcome = scraped(Pages().listing([Item("sem-data"), *run_of_days(LAST - timedelta(days=3), 20)]), WINDOW)
    assert [(row["title"], row["published_at"]) for row in outcome.rows] == [("sem-data", None)]
    assert (outcome.status, outcome.account.without_date) == (Status.SUCCESS, 1)
    assert outcome.notes[Note.WITHOUT_DATE].endswith("/sem-data")


def test_a_listing_whose_dates_can_no_longer_be_read_is_an_error() -> None:
    items = [Item(f"n{number}") for number in range(60)]
    outcome = scraped(Pages({item.url: UNDATED for item in items}).listing(items), WINDOW)
    assert (outcome.status, outcome.error_category, outcome.account.pages) == (Status.ERROR, "html_changed", 2)
    assert "no article says a date" in (outcome.error_message or "")
    assert len(outcome.rows) == 20  # they are kept, as rejects


def test_a_day_yet_to_come_is_no_day() -> None:
    today = day_of(utc_now())
    items = [Item("do-futuro", date(2062, 1, 1), date(2062, 1, 1)), Item("so-artigo", today, date(2062, 1, 1))]
    window = days(str(today - timedelta(days=1)), str(today))
    outcome = scraped(Pages().listing([*items, *run_of_days(today - timedelta(days=3), 20)]), window)
    assert names(outcome) == ["do-futuro", "so-artigo"]
    assert outcome.rows[0]["published_at"] is None
    assert outcome.rows[1]["published_at"].date() == today
    assert outcome.account.implausible == 2


def test_known_articles_are_not_opened_and_their_days_count() -> None:
    """Fault 35: the safeguard of known addresses works, here by what was opened."""
    items = [Item(f"n{number}", own=LAST - timedelta(days=number)) for number in range(40)]
    known = {item.url: item.own for item in items[1:] if item.own}
    web = Pages().listing(items)
    outcome = scraped(web, WINDOW, known=known)
    assert names(outcome) == ["n0"]
    assert (outcome.account.known, outcome.account.older, outcome.account.opened) == (1, 18, 1)
    assert [url for url in web.asked if url in known] == []


def test_a_known_address_is_recognised_in_any_form() -> None:
    items = [Item("http://www.gov.br/aeb/pt-br/noticias/a/?utm_source=x", LAST)]
    outcome = scraped(Pages().listing(items), WINDOW, known={f"{SITE.url}/a": LAST})
    assert (outcome.account.known, outcome.account.opened) == (1, 0)


def test_the_same_item_on_two_pages_is_taken_once() -> None:
    items = run_of_days(LAST, 1, per_day=12)
    web = Pages().listing([*items[:10], items[3], *items[10:], *run_of_days(LAST - timedelta(days=4), 20, name="v")])
    outcome = scraped(web, WINDOW)
    assert (len(outcome.rows), outcome.account.repeated) == (12, 1)


def test_a_site_that_does_not_turn_its_pages_is_left_and_noted() -> None:
    page = listing_text(run_of_days(LAST, 1, per_day=10))
    web = Pages({SITE.url: page, f"{SITE.url}?from=10": page})
    web.answers |= {item.url: str(LAST) for item in run_of_days(LAST, 1, per_day=10)}
    outcome = scraped(web, WINDOW)
    assert (outcome.status, len(outcome.rows), outcome.account.repeated) == (Status.SUCCESS, 10, 10)
    assert Note.LISTING_REPEATS in outcome.notes


def test_a_listing_without_an_empty_page_behind_the_last_is_read_to_its_end() -> None:
    items = run_of_days(LAST, 1, per_day=15)
    web = Pages().listing(items)
    web.answers[f"{SITE.url}?from=15"] = PageMissingError("404")
    outcome = scraped(web, WINDOW)
    assert (outcome.status, len(outcome.rows)) == (Status.SUCCESS, 15)
    web.answers[f"{SITE.url}?from=15"] = UrlBrokenError("403")
    assert scraped(web, WINDOW).status is Status.ERROR


def test_the_page_cap_is_an_error_and_its_rows_are_kept() -> None:
    outcome = scraped(Pages().listing(run_of_days(LAST, 1, per_day=100)), WINDOW, limits=SiteLimits(pages=3))
    assert (outcome.status, outcome.error_category, len(outcome.rows)) == (Status.ERROR, "html_changed", 30)
    assert "left after 3 pages" in (outcome.error_message or "")


# -------------------------------------------------------------------------------------------- failures


def failing(error: Exception, *, broken: int, fine: int) -> SiteOutcome:
    items = run_of_days(LAST, 1, per_day=broken + fine)
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=30)
    web.answers |= {item.url: error for item in items[:broken]}
    return scraped(web, WINDOW)


def test_one_broken_article_is_counted_and_named_and_the_others_are_had() -> None:
    """Fault 27: it neither vanishes nor fails the site."""
    outcome = failing(UrlBrokenError("n0 answered 404"), broken=1, fine=4)
    assert (outcome.status, len(outcome.rows)) == (Status.SUCCESS, 4)
    assert outcome.account.failed == {"url_broken": 1}
    assert [(failure.url, failure.message) for failure in outcome.failures] == [(f"{SITE.url}/n0", "n0 answered 404")]


def test_a_parser_that_fails_as_nobody_foresaw_is_one_article_s_failure() -> None:
    items = run_of_days(LAST, 1, per_day=2)
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=30)
    web.answers[items[0].url] = "broken"
    outcome = scraped(web, WINDOW)
    assert (outcome.status, len(outcome.rows), dict(outcome.account.failed)) == (Status.SUCCESS, 1, {"unknown": 1})
    assert outcome.failures[0].message == "ZeroDivisionError: a parser that fails"


@pytest.mark.parametrize("error", [NetworkError("n"), EmptyContentError("n"), UrlBrokenError("n")])
def test_if_most_articles_fail_it_is_the_site_s_failure(error: NetworkError) -> None:
    """Fault 27: a site all of whose articles fail is no site without news."""
    outcome = failing(error, broken=3, fine=2)
    assert (outcome.status, outcome.error_category, len(outcome.rows)) == (Status.ERROR, error.category, 2)
    assert outcome.retryable is error.retryable
    assert "3 of 5 articles could not be had" in (outcome.error_message or "")
    assert f"{SITE.url}/n0: n" in (outcome.error_message or "")
    assert failing(error, broken=3, fine=3).status is Status.SUCCESS


@pytest.mark.parametrize("count", [1, 2])
def test_a_site_none_of_whose_few_articles_can_be_had_has_not_no_news(
    count: int, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = failing(NetworkError("503"), broken=count, fine=0)
    assert (outcome.status, outcome.error_category, outcome.rows) == (Status.ERROR, "network_error", ())
    for number in range(count):
        assert f"aeb: {SITE.url}/n{number}: 503" in caplog.text
    assert failing(NetworkError("503"), broken=count, fine=1).status is Status.SUCCESS


def textless(bare: int, fine: int = 0, *, outside: int = 0) -> SiteOutcome:
    # Those outside the window are listed without a date, so they are opened.
    items = [*run_of_days(LAST, 1, per_day=bare + fine), *(Item(f"f{n}", own=date(2026, 1, 1)) for n in range(outside))]
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=40)
    web.answers |= {item.url: "" for item in items[:bare]}
    return scraped(web, WINDOW)


@pytest.mark.parametrize(
    ("bare", "fine", "outside", "status"),
    [
        (3, 2, 0, Status.ERROR),
        (3, 3, 0, Status.SUCCESS),
        (3, 2, 1, Status.SUCCESS),
        (2, 0, 0, Status.SUCCESS),
    ],
)
def test_if_most_articles_have_no_text_it_is_the_site_s_failure(
    bare: int, fine: int, outside: int, status: Status
) -> None:
    """A new template, or a shell behind a cached listing; an article may have a picture only."""
    outcome = textless(bare, fine, outside=outside)
    assert (outcome.status, len(outcome.rows), outcome.account.outside) == (status, bare + fine, outside)
    assert [failure.url for failure in outcome.failures] == [f"{SITE.url}/n{number}" for number in range(bare)]
    assert {failure.category for failure in outcome.failures} == {"content_missing"}
    if status is Status.ERROR:
        assert outcome.error_category == "html_changed"
        assert f"3 of 5 articles could not be had; the first: {SITE.url}/n0: it has no text" in (
            outcome.error_message or ""
        )


@pytest.mark.parametrize(("fine", "status"), [(0, Status.ERROR), (1, Status.SUCCESS)])
def test_a_site_all_of_whose_few_pages_have_no_place_for_a_text_has_failed(fine: int, status: Status) -> None:
    """A shell behind a cached listing; an article of nothing but a picture has such a place."""

    def shell(text: str, url: str, listed: Listed) -> Article:
        notes = ("content_missing", "body_missing")
        bare = Article(url=url, title=listed.title, published=listed.published, notes=notes)
        return bare if listed.title == "n0" else replace(bare, content="texto", notes=())

    items = run_of_days(LAST, 1, per_day=1 + fine)
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=30)
    outcome = scraped(web, WINDOW, layouts=(replace(HTML, parse_article=shell),))
    assert (outcome.status, len(outcome.rows), outcome.account.content_missing) == (status, 1 + fine, 1)
    assert outcome.error_category == ("html_changed" if status is Status.ERROR else None)


def test_failed_articles_and_those_without_a_text_are_lost_together() -> None:
    items = run_of_days(LAST, 1, per_day=5)
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=30)
    web.answers |= {items[0].url: UrlBrokenError("404"), items[1].url: "", items[2].url: ""}
    outcome = scraped(web, WINDOW)
    assert (outcome.error_category, len(outcome.rows), outcome.account.failed) == ("html_changed", 4, {"url_broken": 1})


def test_a_video_without_a_text_is_an_article() -> None:
    def video(text: str, url: str, listed: Listed) -> Article:
        bare = Article(url=url, title=listed.title, published=listed.published, notes=("content_missing",))
        return replace(bare, video_url=f"{url}.mp4")

    items = run_of_days(LAST, 1, per_day=4)
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=30)
    outcome = scraped(web, WINDOW, layouts=(replace(HTML, parse_article=video),))
    assert (outcome.status, outcome.account.content_missing, outcome.failures) == (Status.SUCCESS, 4, ())


def test_an_interface_that_gives_no_texts_is_noticed_on_a_quiet_day() -> None:
    """As where it does not honour `fullobjects`: one article is of the window, and none has a text."""

    def bare(text: str, url: str, first: bool) -> tuple[ListingPage, list[Article]]:
        page, whole = REST.read_page(text, url, first)
        return page, [replace(article, content=None, notes=("content_missing",)) for article in whole or ()]

    items = run_of_days(LAST, 1, per_day=1) + run_of_days(LAST - timedelta(days=3), 20, name="v")
    web = Pages().listing([replace(item, own=item.listed) for item in items], per_page=25, rest=True)
    outcome = scraped(web, WINDOW, layouts=(replace(REST, read_page=bare),))
    assert (outcome.status, outcome.error_category, len(outcome.rows)) == (Status.ERROR, "html_changed", 1)


# ------------------------------------------------------------------------------------ listings that break off


@pytest.mark.parametrize("given", [0, 25])
def test_an_interface_that_breaks_off_before_its_total_is_an_error(given: int) -> None:
    items = [Item(f"n{number}", own=LAST) for number in range(25)]
    web = Pages({f"{SITE.url}/api?from=0": listing_text(items[:given], total=60)})
    web.answers[f"{SITE.url}/api?from=25"] = listing_text([], total=60)
    outcome = scraped(web, WINDOW, layouts=(REST,))
    assert (outcome.status, outcome.error_category, len(outcome.rows)) == (Status.ERROR, "empty_content", given)
    assert f"gave {given} of the 60 articles" in (outcome.error_message or "")


def test_an_article_taken_out_while_its_listing_is_read_breaks_nothing_off() -> None:
    items = [Item(f"n{number}", own=LAST) for number in range(25)]
    web = Pages({f"{SITE.url}/api?from=0": listing_text(items, total=26)})
    web.answers[f"{SITE.url}/api?from=25"] = listing_text([], total=25)
    assert scraped(web, WINDOW, layouts=(REST,)).status is Status.SUCCESS


def test_a_page_of_plone_6_that_says_it_is_empty_is_believed_if_its_interface_says_so_too() -> None:
    silent = {f"{SITE.url}/api?from=0": listing_text([], total=0), SITE.url: SAYS_EMPTY}
    for layouts in ((REST, HTML), (HTML, REST)):
        outcome = scraped(Pages(dict(silent)), WINDOW, layouts=layouts)
        assert (outcome.status, outcome.rows) == (Status.SUCCESS, ())
        assert Note.LISTING_EMPTY in outcome.notes
    for layouts in ((REST, HTML), (HTML, REST)):
        web = Pages({SITE.url: SAYS_EMPTY}).listing(rest_items(), rest=True)
        assert names(scraped(web, WINDOW, layouts=layouts)) == ["n0", "n1"]
    assert scraped(Pages(dict(silent)), WINDOW, layouts=(HTML,)).status is Status.ERROR


def test_a_site_that_challenges_is_left_alone() -> None:
    items = run_of_days(LAST, 1, per_day=40)
    web = Pages().listing(items)
    web.answers |= {item.url: AntiBotError("desafio") for item in items}
    outcome = scraped(web, WINDOW)
    assert (outcome.error_category, outcome.account.pages) == ("anti_bot", 1)


def test_links_to_hosts_of_others_are_counted_apart_and_are_no_failure() -> None:
    """Fault 34 is about pictures; the same holds for articles: what is foreign is told, not stored."""
    items = [Item(f"https://elsewhere.example/{number}", LAST) for number in range(5)]
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20)], per_page=30)
    web.answers |= {item.url: HostRefusedError(f"{item.url}: not of the catalogue") for item in items}
    outcome = scraped(web, WINDOW)
    assert (outcome.status, outcome.account.foreign, outcome.account.failed.total()) == (Status.SUCCESS, 5, 0)
    assert {failure.category for failure in outcome.failures} == {"foreign_host"}


def test_an_article_whose_address_leads_up_to_the_listing_is_gone() -> None:
    items = run_of_days(LAST, 1, per_day=2)
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=30)
    web.answers[items[0].url] = (SITE.url, "2026-02-05")
    outcome = scraped(web, WINDOW)
    assert (len(outcome.rows), dict(outcome.account.failed)) == (1, {"url_broken": 1})


def test_an_article_that_moved_keeps_the_address_of_the_listing() -> None:
    web = Pages().listing([Item("a", LAST), *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=30)
    web.answers[f"{SITE.url}/a"] = (f"{SITE.url}/arquivo/a", "2026-02-05")
    assert [row["url"] for row in scraped(web, WINDOW).rows] == [f"{SITE.url}/a"]


def test_a_failure_in_the_middle_keeps_what_was_had_and_is_no_success() -> None:
    """Fault 27: the earlier scraper took it for the end of the news."""
    web = Pages().listing(run_of_days(LAST, 1, per_day=30))
    web.answers[f"{SITE.url}?from=20"] = NetworkError("no answer", hint="later")
    outcome = scraped(web, WINDOW)
    assert (outcome.status, outcome.error_category, len(outcome.rows)) == (Status.ERROR, "network_error", 20)
    assert outcome.retryable


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (NetworkError("x"), "network_error"),
        (AntiBotError("x"), "anti_bot"),
        (EmptyContentError("x"), "empty_content"),
        (UrlBrokenError("x"), "url_broken"),
        (HtmlChangedError("x"), "html_changed"),
        (TimeBudgetError("x"), "network_error"),
        (KeyError("x"), "unknown"),
    ],
)
def test_a_listing_that_cannot_be_had_is_never_no_news(error: Exception, category: str) -> None:
    """Fault 27."""
    outcome = scraped(Pages({SITE.url: error}), WINDOW)
    assert (outcome.status, outcome.error_category, outcome.addresses) == (Status.ERROR, category, ())
    assert outcome.error_message


def test_articles_that_came_too_late_make_the_visit_a_failure() -> None:
    items = run_of_days(LAST, 1, per_day=5)
    web = Pages().listing([*items, *run_of_days(LAST - timedelta(days=3), 20, name="v")], per_page=30)
    web.answers[items[4].url] = TimeBudgetError("over")
    outcome = scraped(web, WINDOW)
    assert (outcome.status, outcome.error_category, len(outcome.rows)) == (Status.ERROR, "network_error", 4)
    assert "were over after 4 rows" in (outcome.error_message or "")


def test_missing_contents_are_counted() -> None:
    """Fault 33: the row goes on with its flag, to be asked again."""
    web = Pages().listing([Item("a", LAST), *run_of_days(LAST - timedelta(days=3), 20)], per_page=30)
    web.answers[f"{SITE.url}/a"] = ""
    outcome = scraped(web, WINDOW)
    assert (outcome.account.rows, outcome.account.content_missing) == (1, 1)
    assert outcome.notes[Note.CONTENT_MISSING] == f"{SITE.url}/a"


# -------------------------------------------------------------------------------------------- fallback


def rest_items() -> list[Item]:
    return [Item(f"n{number}", LAST - timedelta(days=number), LAST - timedelta(days=number)) for number in range(40)]


@pytest.mark.parametrize("page", [SHELL, EMPTY])
def test_a_page_without_items_is_asked_for_by_the_interface(page: str) -> None:
    """Fault 30."""
    web = Pages({SITE.url: page}).listing(rest_items(), rest=True)
    outcome = scraped(web, WINDOW, layouts=(HTML, REST))
    assert (outcome.status, names(outcome), outcome.layout) == (Status.SUCCESS, ["n0", "n1"], "rest")
    assert outcome.fallback_triggered
    assert outcome.notes[Note.FALLBACK].startswith("rest instead of html")


def test_a_site_that_is_read_as_the_catalogue_says_has_no_fallback() -> None:
    outcome = scraped(Pages().listing(rest_items(), rest=True), WINDOW, layouts=(REST, HTML))
    assert (outcome.fallback_triggered, outcome.layout, len(outcome.rows)) == (False, "rest", 2)


@pytest.mark.parametrize("error", [UrlBrokenError("404"), EmptyContentError("HTML"), HtmlChangedError("JSON")])
def test_a_site_without_the_interface_is_read_as_a_page(error: Exception) -> None:
    web = Pages({f"{SITE.url}/api?from=0": error}).listing(rest_items())
    outcome = scraped(web, WINDOW, layouts=(REST, HTML))
    assert (names(outcome), outcome.fallback_triggered) == (["n0", "n1"], True)


@pytest.mark.parametrize(
    ("second", "category"),
    [
        (UrlBrokenError("its interface answered 404"), "html_changed"),
        (NetworkError("its interface did not answer"), "network_error"),
        (AntiBotError("desafio"), "anti_bot"),
    ],
)
def test_if_both_fail_both_are_told(second: Exception, category: str) -> None:
    web = Pages({SITE.url: SHELL, f"{SITE.url}/api?from=0": second})
    outcome = scraped(web, WINDOW, layouts=(HTML, REST))
    assert (outcome.status, outcome.error_category) == (Status.ERROR, category)
    assert "nothing is found" in (outcome.error_message or "")
    assert str(second) in (outcome.error_message or "")


def test_an_interface_that_lists_nothing_is_believed_only_if_the_page_says_so_too() -> None:
    """Fault 30: an empty answer of the wrong question is not "no news"."""
    silent = {f"{SITE.url}/api?from=0": listing_text([], total=0)}
    for layouts in ((REST, HTML), (HTML, REST)):
        outcome = scraped(Pages(silent | {SITE.url: SHELL}), WINDOW, layouts=layouts)
        assert (outcome.status, outcome.error_category) == (Status.ERROR, "html_changed")
    outcome = scraped(Pages(silent | {SITE.url: listing_text([])}), WINDOW, layouts=(REST, HTML))
    assert (outcome.status, outcome.rows) == (Status.SUCCESS, ())
    assert Note.LISTING_EMPTY in outcome.notes


def test_a_failure_half_way_is_not_mended_by_another_layout() -> None:
    web = Pages().listing(run_of_days(LAST, 1, per_day=30))
    web.answers[f"{SITE.url}?from=10"] = HtmlChangedError("x")
    web.listing(rest_items(), rest=True)
    outcome = scraped(web, WINDOW, layouts=(HTML, REST))
    assert (outcome.status, len(outcome.rows)) == (Status.ERROR, 10)
    assert not outcome.fallback_triggered


# --------------------------------------------------------------------------------- where the listing is


def test_a_listing_that_moved_is_read_where_it_is_now() -> None:
    now = f"{SITE.url}-1"
    web = Pages().listing(run_of_days(LAST, 30), url=now)
    web.answers[SITE.url] = (f"{now}/?x=1", web.answers[now])
    outcome = scraped(web, WINDOW)
    assert (outcome.status, len(outcome.rows)) == (Status.SUCCESS, 2)
    assert outcome.notes[Note.LISTING_MOVED] == f"{SITE.url} leads to {now}"
    assert f"{now}?from=10" in web.asked


def test_a_listing_that_leads_up_to_the_home_page_is_gone() -> None:
    web = Pages({SITE.url: ("https://www.gov.br/aeb/pt-br", listing_text(run_of_days(LAST, 30)))})
    outcome = scraped(web, WINDOW)
    assert (outcome.status, outcome.error_category, outcome.rows) == (Status.ERROR, "url_broken", ())


YEARLY = replace(SITE, url="https://www.gov.br/aeb/pt-br/noticias/2025")
ABOVE = SITE.url
NEW_YEAR = days("2025-12-30", "2026-01-02")


def old_year() -> Pages:
    return Pages().listing(run_of_days(date(2025, 12, 31), 30, name="v"), url=YEARLY.url)


def test_a_year_in_the_address_is_followed_into_the_new_year() -> None:
    """Fault 32."""
    web = old_year().listing(run_of_days(date(2026, 1, 2), 2, name="n"), url=f"{ABOVE}/2026")
    outcome = scraped(web, NEW_YEAR, site=YEARLY)
    assert (outcome.status, names(outcome)) == (Status.SUCCESS, ["v0", "v1", "n0", "n1"])
    assert outcome.addresses == (YEARLY.url, f"{ABOVE}/2026")
    assert f"{ABOVE}/2026 was read for 2026" in outcome.notes[Note.YEAR_IN_ADDRESS]


@pytest.mark.parametrize("answer", [UrlBrokenError("404"), EMPTY, SHELL, listing_text([])])
def test_without_a_folder_of_the_new_year_the_one_above_is_read(answer: object) -> None:
    """Fault 32."""
    web = old_year().listing(run_of_days(date(2026, 1, 2), 30, name="n"), url=ABOVE)
    web.answers[f"{ABOVE}/2026"] = answer
    outcome = scraped(web, NEW_YEAR, site=YEARLY)
    assert outcome.status is Status.SUCCESS
    assert outcome.addresses[-1] == ABOVE
    assert names(outcome) == ["v0", "v1", "n0", "n1", "n2", "n3"]


def test_if_the_new_year_is_nowhere_it_is_an_error() -> None:
    """Fault 32: silence from 1 January on is not "no news"."""
    web = old_year()
    web.answers |= {f"{ABOVE}/2026": UrlBrokenError("404"), ABOVE: UrlBrokenError("404")}
    outcome = scraped(web, NEW_YEAR, site=YEARLY)
    assert (outcome.status, outcome.error_category, names(outcome)) == (Status.ERROR, "url_broken", ["v0", "v1"])
    assert "holds a year, and none was found for 2026" in (outcome.error_message or "")


def test_a_folder_that_kept_its_name_is_enough() -> None:
    web = Pages().listing(run_of_days(date(2026, 1, 2), 30), url=YEARLY.url)
    outcome = scraped(web, NEW_YEAR, site=YEARLY)
    assert (outcome.status, outcome.addresses, len(outcome.rows)) == (Status.SUCCESS, (YEARLY.url,), 4)


def test_a_folder_of_the_old_year_that_is_gone_matters_only_if_the_window_reaches_into_it() -> None:
    web = Pages({YEARLY.url: UrlBrokenError("404")})
    web.listing(run_of_days(date(2026, 1, 2), 2), url=f"{ABOVE}/2026")
    assert scraped(web, days("2026-01-01", "2026-01-02"), site=YEARLY).status is Status.SUCCESS
    outcome = scraped(web, NEW_YEAR, site=YEARLY)
    assert (outcome.status, len(outcome.rows)) == (Status.ERROR, 2)


# -------------------------------------------------------------------------------------------- property


@given(
    st.lists(
        st.tuples(st.none() | st.integers(0, 20), st.none() | st.integers(0, 20), st.sampled_from("afbg")), max_size=60
    ),
    st.integers(1, 25),
    st.sets(st.integers(0, 59)),
)
def test_whatever_a_site_shows_every_item_is_accounted_for(
    shown: list[tuple[int | None, int | None, str]], per_page: int, known: set[int]
) -> None:
    def ago(age: int | None) -> date | None:
        return None if age is None else LAST - timedelta(days=age)

    items = [Item(f"i{number}", ago(listed), ago(own)) for number, (listed, own, _) in enumerate(shown)]
    web = Pages().listing(items, per_page=per_page)
    for item, (_, _, kind) in zip(items, shown, strict=True):
        if kind == "f":
            web.answers[item.url] = UrlBrokenError("404")
        elif kind == "b":
            web.answers[item.url] = "broken"
        elif kind == "g":
            web.answers[item.url] = (SITE.url, "2026-02-05")
    outcome = scraped(web, WINDOW, known={items[n].url: LAST for n in known if n < len(items)})
    in_window = {WINDOW.first, WINDOW.last}
    assert all(row["published_at"] is None or row["published_at"].date() in in_window for row in outcome.rows)
    assert outcome.account.without_date == sum(row["published_at"] is None for row in outcome.rows)
    assert (outcome.error_message is None) is outcome.succeeded
    opened = [url for url in web.asked if "?" not in url and url != SITE.url]
    assert len(opened) == len(set(opened)) == outcome.account.opened
    assert outcome.to_dict()["rows"] == len(outcome.rows)
