"""Which article each scraped row is, once, before the stores are written (DESIGN §2.8).

An article that the store has is found by (agency, canonical address) and keeps its id, however its title or its date
were edited. Any other gets a new one. What decides is a row's own cells and what the store holds, never the place in
the batch, so the same rows in another order, or again after they were stored, get the same ids:

* several rows of one article: the one with a text, then the latest `extracted_at`, stands for all;
* several new articles that one id would fall to (one agency, one instant, one title, other addresses): the one with the
  smallest address, by its bytes, gets it; each other one the id that its address salts;
* a row without what an id is made of gets one all the same, and no `extracted_at`: the stores keep it as a reject, and
  by that it would be another one every day;
* a new article whose id the store has at another address: salted as well. It may be an article that moved; taking it
  for that could write one article over another, and this cannot. Where many of an agency are so, its listing moved, and
  that is told.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, time
from typing import Any

from data_platform.errors import IntegrityError
from data_platform.jobs.daily.known_articles import FindsArticles, KnownArticles
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.models.admission import clean
from data_platform.models.columns import COLUMN_NAMES, REQUIRED_COLUMNS
from data_platform.models.days import SAO_PAULO
from data_platform.models.identity import new_id, salted_id
from data_platform.models.urls import canonical_urls
from data_platform.sources.given import batch_of_columns

__all__ = ["Identified", "IdentityAccount", "identify", "identify_in", "unmixed"]

_LOG = logging.getLogger(__name__)
_MADE_OF = tuple(name for name in REQUIRED_COLUMNS if name != "unique_id")
_LATEST = datetime.max.replace(tzinfo=UTC)
#: What an article is called while it is looked up by its address; no store has such an id.
_PROVISIONAL = "looked up: "
#: Only there because a row without them is no row; nothing is looked up by them.
_ANY_TIME, _ANY_TITLE = datetime(2000, 1, 1, tzinfo=UTC), "-"
#: So many articles of one agency at other addresses are no accident.
_MANY_MOVED = 5
_MIDNIGHT = time()


@dataclass(frozen=True, kw_only=True)
class IdentityAccount:
    """What the rows of a batch are; read = existing + new + without_url + duplicates.

    Attributes:
        read: rows given.
        existing: articles that the store has.
        new: articles that it has not.
        without_url: rows that no address is known of, or no agency; whether they are there shows when they are written.
        duplicates: rows that another row of the batch stands for.
        salted: of the new ones, those whose plain id is another article's.
        incomplete: rows without a cell that an id is made of; the stores will reject those without a required one.
    """

    read: int = 0
    existing: int = 0
    new: int = 0
    without_url: int = 0
    duplicates: int = 0
    salted: int = 0
    incomplete: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return this as JSON values."""
        return asdict(self)

    def checked(self) -> IdentityAccount:
        """Return this if it adds up.

        Raises:
            IntegrityError: a row is missing from the account.
        """
        if self.read != self.existing + self.new + self.without_url + self.duplicates:
            raise IntegrityError(f"identity: rows do not add up: {self.to_dict()}", hint="nothing was staged")
        return self


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A batch whose rows have ids, each article once.

    Attributes:
        columns: unique_id and the columns given -> values, sorted by unique_id.
        account: what became of the rows.
        new_ids: ids of the articles that the store has not.
        salted_ids: those of them that are salted.
        identity: which store was asked, in words.
        moved: those of the salted ones that may be an article that the store has at another address, since the time
            says more than a day and that address is not in the batch, too: agency, address there, address here.
    """

    columns: Mapping[str, Sequence[Any]]
    account: IdentityAccount
    new_ids: Sequence[str] = ()
    salted_ids: Sequence[str] = ()
    identity: str = ""
    moved: Sequence[tuple[str, str, str]] = ()

    @property
    def alerts(self) -> list[str]:
        """Say of which agencies so many articles came at another address that a person should look."""
        by_agency: dict[str, list[tuple[str, str]]] = {}
        for agency, there, here in self.moved:
            by_agency.setdefault(agency, []).append((there, here))
        return [
            f"{agency}: {len(its)} new articles have title and time of ones that are in the store at another address,"
            f" as {its[0][0]} and now {its[0][1]}: its listing may have moved, and they are there twice"
            for agency, its in sorted(by_agency.items())
            if len(its) >= _MANY_MOVED
        ]


@dataclass
class _Article:
    """An article of a batch: what it is known by, the row that stands for it, the id it gets."""

    agency: str | None
    published_at: datetime | None
    title: str | None
    url: str | None
    row: int
    unique_id: str = ""
    is_known: bool = False
    is_salted: bool = False
    elsewhere: str = ""

    @property
    def has_address(self) -> bool:
        return self.agency is not None and self.url is not None

    @property
    def is_complete(self) -> bool:
        return None not in (self.agency, self.published_at, self.title)

    @property
    def plain_id(self) -> str:
        return new_id(self.agency, self.published_at, self.title)

    def take_salted(self, salt: str) -> None:
        self.unique_id = salted_id(self.agency, self.published_at, self.title, salt)
        self.is_salted = True


@dataclass
class _Batch:
    """The cells of a batch that identity is about, cleaned as the stores clean them."""

    agency: list[str | None]
    published_at: list[datetime | None]
    title: list[str | None]
    url: list[str | None]
    rank: list[tuple[bool, datetime, str]]
    digests: list[str] = field(repr=False)


def identify_in(adapter: StorageAdapter, rows: Mapping[str, Sequence[Any]], *, last_try: bool = True) -> Identified:
    """Identify rows by the store that is read and, where two are written, by the other what that one has not.

    An article that only one of them has, since the other missed it, keeps the id that it has there: made anew, of a
    title that was edited since, its id would be another one, and the stores would never agree again (DESIGN §2.8).

    Args:
        adapter: has the stores.
        rows: see `identify`.
        last_try: whether nobody tries again; then one store is enough to go on.

    Raises:
        ValueError, IntegrityError: see `identify`.
        DataPlatformError: no store says what it has; the error of the one that is read. If it is not the last try, the
            error of any that may answer later.
    """
    stores = KnownArticles(adapter, last_try=last_try)
    found = identify(rows, stores)
    return replace(found, identity=stores.identity)


def identify(rows: Mapping[str, Sequence[Any]], store: FindsArticles) -> Identified:
    """Give every article of a batch its id, and every article once.

    Args:
        rows: column of the dataset -> one value a row, as scrapers give them: agency, published_at and title are
            needed, url is wanted, unique_id must not be there.
        store: the one that is read.

    Raises:
        ValueError: a column is unknown, missing or of another length; names it.
        IntegrityError: the account does not add up.
        StoreError, StoreUnavailableError: the store does not say what it has.
    """
    if "unique_id" in rows:
        raise ValueError("column 'unique_id' is made here: give the rows without it")
    batch = _read(rows)
    articles = _articles(batch)
    _look_up(articles, store)
    _make_ids(articles, store)
    articles.sort(key=lambda article: article.unique_id)
    read = len(batch.agency)
    addressed = [article for article in articles if article.has_address]
    account = IdentityAccount(
        read=read,
        existing=sum(article.is_known for article in addressed),
        new=sum(not article.is_known for article in addressed),
        without_url=len(articles) - len(addressed),
        duplicates=read - len(articles),
        salted=sum(article.is_salted for article in addressed),
        incomplete=sum(not article.is_complete for article in articles),
    ).checked()
    order = [article.row for article in articles]
    names = rows.keys() | {*_MADE_OF}  # a day without news has the columns that a write asks for, too
    given = {name: [rows[name][row] for row in order] for name in COLUMN_NAMES if name in names}
    if "extracted_at" in given:
        # A row that the stores reject is kept whole there: read again tomorrow, it must be the same reject.
        times = zip(articles, given["extracted_at"], strict=True)
        given["extracted_at"] = [at if article.is_complete else None for article, at in times]
    made = [article.unique_id for article in articles]
    if len(set(made)) != len(made):
        raise IntegrityError("identity: two articles got one id", hint="nothing was staged; this is a fault of ours")
    _LOG.info("identity: %s", account.to_dict())
    return Identified(
        columns={"unique_id": made, **given},
        account=account,
        new_ids=[article.unique_id for article in addressed if not article.is_known],
        salted_ids=[article.unique_id for article in addressed if article.is_salted],
        moved=_moved(addressed),
    )


def unmixed(rows: Mapping[str, Sequence[Any]], store: FindsArticles) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Return identified rows as they may be written again later, and id -> id of those that must not keep theirs.

    An id that was free when the batch was identified may be another article's by now; written under it, one would
    overwrite the other. Such a row gets its salted id, if the store does not have it by its address anyway.

    Args:
        rows: columns as `identify` gave them.
        store: the one that is to be written.
    """
    columns = {name: list(values) for name, values in rows.items()}
    if "url" not in columns or not columns["unique_id"]:
        return columns, {}
    mine = clean(batch_of_columns(rows).batch).batch
    urls = canonical_urls(mine.column("url")).to_pylist()
    there = _addresses(store, [uid for uid, url in zip(columns["unique_id"], urls, strict=True) if url is not None])
    cells = (mine.column(name).to_pylist() for name in _MADE_OF)
    changed: dict[str, str] = {}
    for place, (agency, at, title) in enumerate(zip(*cells, strict=True)):
        uid, url = columns["unique_id"][place], urls[place]
        if url is not None and there.get(uid, url) not in {None, url}:
            changed[uid] = columns["unique_id"][place] = salted_id(agency, at, title, url)
    return columns, changed


def _read(rows: Mapping[str, Sequence[Any]]) -> _Batch:
    given = batch_of_columns(rows, required=_MADE_OF).batch
    cleaned = clean(given).batch
    count, names = cleaned.num_rows, set(cleaned.schema.names)

    def cells(name: str) -> list[Any]:
        return list(cleaned.column(name).to_pylist()) if name in names else [None] * count

    digests = [hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest() for row in given.to_pylist()]
    url = canonical_urls(cleaned.column("url")).to_pylist() if "url" in names else [None] * count
    rank = [
        (content is not None, at or _LATEST, digest)
        for content, at, digest in zip(cells("content"), cells("extracted_at"), digests, strict=True)
    ]
    return _Batch(cells("agency"), cells("published_at"), cells("title"), url, rank, digests)


def _articles(batch: _Batch) -> list[_Article]:
    """Put the rows of each article together."""
    members: dict[tuple[str | None, ...], list[_Article]] = {}
    loose: list[_Article] = []
    cells = zip(batch.agency, batch.published_at, batch.title, batch.url, strict=True)
    for row, (agency, published_at, title, url) in enumerate(cells):
        article = _Article(agency, published_at, title, url, row)
        if article.has_address:
            members.setdefault((agency, url), []).append(article)
        else:
            loose.append(article)

    def stands(its: list[_Article]) -> _Article:
        return max(its, key=lambda article: batch.rank[article.row])

    found = [stands(its) for its in members.values()]
    plain = {article.plain_id for article in found}
    unaddressed: dict[str, list[_Article]] = {}
    for article in loose:
        # Rows that lack what an id is made of have nothing in common but that; only the same row twice is one.
        key = article.plain_id if article.is_complete else batch.digests[article.row]
        if not (article.is_complete and key in plain):
            unaddressed.setdefault(key, []).append(article)
    for key, its in unaddressed.items():
        article = stands(its)
        if article.is_complete:
            article.unique_id = article.plain_id
        else:
            article.unique_id = salted_id(article.agency, article.published_at, article.title, key)
        found.append(article)
    return found


def _look_up(articles: Sequence[_Article], store: FindsArticles) -> None:
    """Give the articles that the store has by their address the ids that they have there."""
    asked = [article for article in articles if article.has_address]
    if not asked:
        return
    names = [f"{_PROVISIONAL}{number}" for number in range(len(asked))]
    known = store.resolve_ids(
        {
            "unique_id": names,
            "agency": [article.agency for article in asked],
            "published_at": [_ANY_TIME] * len(asked),
            "title": [_ANY_TITLE] * len(asked),
            "url": [article.url for article in asked],
        }
    )
    for name, article in zip(names, asked, strict=True):
        if name in known:
            article.unique_id, article.is_known = known[name], True


def _make_ids(articles: Sequence[_Article], store: FindsArticles) -> None:
    """Give the others theirs."""
    wanting: dict[str, list[_Article]] = {}
    for article in articles:
        if article.has_address and not article.is_known:
            wanting.setdefault(article.plain_id, []).append(article)
    there = _addresses(store, list(wanting))
    for plain, its in wanting.items():
        its.sort(key=lambda article: (article.url or "").encode())
        free: list[_Article]
        if plain not in there:
            free = its[:1]
        else:  # a row of the store without an address, or with this one under another agency, is this very article
            free = [article for article in its if there[plain] in {None, article.url}][:1]
        for article in its:
            if article in free:
                article.unique_id, article.is_known = plain, plain in there
            else:
                article.take_salted(article.url or "")
                article.elsewhere = there.get(plain) or ""


def _moved(articles: Sequence[_Article]) -> list[tuple[str, str, str]]:
    """Return which articles may be ones that the store has at another address."""
    here = {(article.agency, article.url) for article in articles}
    return sorted(
        (article.agency or "", article.elsewhere, article.url or "")
        for article in articles
        if article.elsewhere
        and (article.agency, article.elsewhere) not in here
        # Of notes that only a day is known of, many have one title.
        and article.published_at is not None
        and article.published_at.astimezone(SAO_PAULO).time() != _MIDNIGHT
    )


def _addresses(store: FindsArticles, unique_ids: Sequence[str]) -> dict[str, str | None]:
    """Return the canonical addresses of the rows with these ids that the store has."""
    if not unique_ids:
        return {}
    found = store.get_by_unique_ids(unique_ids).select(["unique_id", "url"]).combine_chunks()
    urls = [url for batch in found.to_batches() for url in canonical_urls(batch.column("url")).to_pylist()]
    return dict(zip(found.column("unique_id").to_pylist(), urls, strict=True))
