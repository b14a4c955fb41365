"""Rows of the scraper: which columns, in which types, and what they say of what could not be got."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime

import pytest

from data_platform.jobs.scraper.records import Article, When
from data_platform.jobs.scraper.rows import ROW_COLUMNS, scraped_row
from data_platform.managers.write_rules import SCRAPED, left_alone
from data_platform.models.admission import clean, reject_reasons
from data_platform.sources.given import batch_of_columns

AT = datetime(2026, 2, 6, 4, 0, tzinfo=UTC)
WHEN = When(datetime(2026, 2, 5, 16, 47, tzinfo=UTC), exact=True)
WHOLE = Article(
    url="https://www.gov.br/mec/pt-br/n",
    title="Um título",
    published=WHEN,
    updated=WHEN,
    subtitle="Linha fina",
    editorial_lead="Chapéu",
    content="Um texto.",
    image="https://www.gov.br/f.jpg",
    video_url="https://tvbrasil.ebc.com.br/v.mp4",
    category="Saúde",
    tags=("clima", "SUS"),
)


def test_a_row_has_the_scraper_s_columns_and_the_agency_and_no_other() -> None:
    """Fault 22: a scraper's row has no column of enrichment."""
    row = scraped_row(WHOLE, "mec", AT)
    assert tuple(row) == ROW_COLUMNS
    assert set(row) == {*SCRAPED, "agency", "extracted_at"}
    assert row["tags"] == ["clima", "SUS"]
    assert (row["published_at"], row["extracted_at"]) == (WHEN.instant, AT)


@pytest.mark.parametrize("article", [WHOLE, Article(url=WHOLE.url, title="T", published=WHEN)], ids=["whole", "bare"])
def test_managers_take_a_row_as_it_is(article: Article) -> None:
    row = OrderedDict({"unique_id": "um", **scraped_row(article, "mec", AT)})
    read = batch_of_columns({name: [value] for name, value in row.items()})
    assert dict(read.unreadable) == {}
    cleaned = clean(read.batch)
    assert cleaned.counts() == {}
    assert reject_reasons(cleaned.batch)[0].to_pylist() == [None]
    assert cleaned.batch.to_pylist() == [
        dict(sorted(row.items(), key=lambda cell: list(cleaned.batch.schema.names).index(cell[0])))
    ]


def test_a_text_that_could_not_be_got_leaves_the_one_that_is_there() -> None:
    """Fault 33: a null would take the text of an earlier scrape away; the sentinel does not, and is stored as null.

    Nor is the rest of such a page taken: without its text it is not known what page it is.
    """
    missing = Article(url=WHOLE.url, title="T", published=WHEN, notes=("content_missing",))
    row = {"unique_id": "um", **scraped_row(missing, "mec", AT)}
    cleaned = clean(batch_of_columns({name: [value] for name, value in row.items()}).batch)
    assert cleaned.batch.column("content").to_pylist() == [None]
    left = {name: mask.to_pylist() for name, mask in left_alone(cleaned).items()}
    assert left == {name: [True] for name in SCRAPED}


def test_an_article_without_a_date_is_kept_for_the_rejects() -> None:
    """Fault 8: it is neither dropped here nor given a date."""
    row = {"unique_id": "um", **scraped_row(Article(url=WHOLE.url, title="T"), "mec", AT)}
    assert (row["published_at"], row["updated_datetime"]) == (None, None)
    cleaned = clean(batch_of_columns({name: [value] for name, value in row.items()}).batch)
    assert reject_reasons(cleaned.batch)[0].to_pylist() == ["published_at"]


def test_an_agency_and_a_zone_are_needed() -> None:
    with pytest.raises(ValueError, match="agency"):
        scraped_row(WHOLE, "", AT)
    with pytest.raises(ValueError, match="zone"):
        scraped_row(WHOLE, "mec", AT.replace(tzinfo=None))
