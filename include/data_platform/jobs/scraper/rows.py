"""Articles as rows: the columns that the scraper owns, in the types that the managers take."""

from __future__ import annotations

from datetime import datetime

from data_platform.jobs.scraper.markdown import CONTENT_MISSING
from data_platform.jobs.scraper.records import Article
from data_platform.models.columns import COLUMN_BY_NAME, COLUMNS, Owner

__all__ = ["ROW_COLUMNS", "scraped_row"]

#: What a scraped row has: the agency and every column of the scraper, in the order of the dataset.
ROW_COLUMNS: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.owner is Owner.SCRAPER or c.name == "agency")
#: A page without its text says nothing about the text: by this word a store keeps what it has (`write_rules`), and a
#: new row gets none (`admission`). A null would take the text of an earlier scrape away.
_NOT_GOT = COLUMN_BY_NAME["content"].sentinels[0]


def scraped_row(article: Article, agency: str, extracted_at: datetime) -> dict[str, object]:
    """Return an article as a row, all but its unique_id.

    Args:
        article: as read.
        agency: key of the site.
        extracted_at: when it was read, with a zone.

    Returns:
        Column of the dataset -> value, for `ROW_COLUMNS`: texts or None, instants with zone or None, tags as a list.

    Raises:
        ValueError: the agency is empty, or `extracted_at` has no zone.
    """
    if not agency:
        raise ValueError("a row needs the key of its agency")
    if extracted_at.tzinfo is None:
        raise ValueError(f"extracted_at needs a zone: {extracted_at!r}")
    missing = article.content is None and CONTENT_MISSING in article.notes
    cells: dict[str, object] = {
        "agency": agency,
        "published_at": article.published.instant if article.published else None,
        "updated_datetime": article.updated.instant if article.updated else None,
        "extracted_at": extracted_at,
        "title": article.title,
        "subtitle": article.subtitle,
        "editorial_lead": article.editorial_lead,
        "url": article.url,
        "content": _NOT_GOT if missing else article.content,
        "image": article.image,
        "video_url": article.video_url,
        "category": article.category,
        "tags": list(article.tags),
    }
    return {name: cells[name] for name in ROW_COLUMNS}
