"""Pages of the sites, in every layout met in the field, from made-up articles.

Written to FIELD_FACTS §3 and §4: what surrounds an article (menus, share bars, bylines, footers, scripts, dates of
other things) is there too, since telling it from the article is what a parser has to do. The same arguments give the
same text. `volto.py` beside this file makes the answers of the Plone 6 interface.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_platform.models.days import SAO_PAULO
from dev.gov_web.made_up import MadeUp

__all__ = [
    "ARTICLE_DATES",
    "CONTAINERS",
    "LISTING_DATES",
    "ArticleDates",
    "Container",
    "Hrefs",
    "ListingDates",
    "agencia_brasil_article",
    "agencia_brasil_listing",
    "anti_bot_page",
    "classic_article",
    "classic_listing",
    "login_page",
    "maintenance_page",
    "memoria_listing",
    "tv_brasil_article",
    "tv_brasil_listing",
    "volto_shell",
]

Container = Literal["tileItem", "noticias", "entries", "item"]
CONTAINERS: tuple[Container, ...] = ("tileItem", "noticias", "entries", "item")
ListingDates = Literal["byline", "data", "time", "time_day", "class", "words", "text", "none"]
LISTING_DATES: tuple[ListingDates, ...] = ("byline", "data", "time", "time_day", "class", "words", "text", "none")
ArticleDates = Literal["json_ld", "broken_json_ld", "document", "inline", "none"]
ARTICLE_DATES: tuple[ArticleDates, ...] = ("json_ld", "broken_json_ld", "document", "inline", "none")
Hrefs = Literal["absolute", "path", "http"]

_MONTHS = (
    *("janeiro", "fevereiro", "março", "abril", "maio", "junho"),
    *("julho", "agosto", "setembro", "outubro", "novembro", "dezembro"),
)
#: Menu entries and the like: with these a page of an article of 4.5 KB weighs about 80 KB.
_NOISE = 130


def classic_listing(
    articles: Sequence[MadeUp],
    *,
    container: Container = "tileItem",
    dates: ListingDates = "byline",
    hrefs: Hrefs = "absolute",
    next_url: str | None = None,
    noise: int = _NOISE,
    says_empty: bool = False,
) -> str:
    """Return one page of a listing of a classic Plone site, with these articles on it.

    Args:
        articles: in the order of the page.
        container: which markup an item has (FIELD_FACTS §3.2).
        dates: how an item tells its date.
        hrefs: how it leads to its article.
        next_url: address of the next page, if there is one.
        noise: how much else is on the page; 0 gives about 5 KB.
        says_empty: whether a page without articles says so.
    """
    items = [_shown(article) | {"href": _href(article, hrefs)} for article in articles]
    return _render(
        "classic_listing.html",
        items=items,
        container=container,
        dates=dates,
        next_url=next_url,
        noise=noise,
        says_empty=says_empty,
        base=None,
        url=articles[0].url.rsplit("/", 1)[0] if articles else "https://www.gov.br/orgao/pt-br/assuntos/noticias",
        title="Notícias",
    )


def classic_article(
    article: MadeUp,
    *,
    dates: ArticleDates = "json_ld",
    subtitle_class: Literal["discreet", "description"] = "description",
    image_src: str | None = None,
    base: str | None = None,
    noise: int = _NOISE,
) -> str:
    """Return an article's page of a classic Plone site, about 80 KB.

    Args:
        article: what it shows.
        dates: where it tells when it was published.
        subtitle_class: the class of the paragraph that is its subtitle.
        image_src: the address of the picture on top as the page has it, such as a relative one.
        base: address for a base element.
        noise: how much else is on the page.
    """
    return _render(
        "classic_article.html",
        article=_shown(article),
        json_ld=_json_ld(article, broken=dates == "broken_json_ld") if dates.endswith("json_ld") else None,
        dates=dates,
        subtitle_class=subtitle_class,
        image_src=image_src,
        base=base,
        noise=noise,
        url=article.url,
        title=article.title,
    )


def volto_shell(size: int = 330_000) -> str:
    """Return what a Plone 6 site answers under its listing's address: a large page without one item."""
    return _padded("volto_shell.html", size)


def login_page() -> str:
    """Return the form that some sites lead to in place of an article."""
    return _render("login.html")


def anti_bot_page(size: int = 9_000) -> str:
    """Return a challenge for browsers."""
    return _padded("anti_bot.html", size)


def maintenance_page(size: int = 2_000) -> str:
    """Return what a site shows while it is being worked on, also in place of the interface's JSON."""
    return _padded("maintenance.html", size)


def agencia_brasil_listing(
    articles: Sequence[MadeUp], *, next_page: int | None = None, hrefs: Hrefs = "absolute"
) -> str:
    """Return a page of the latest news of Agência Brasil; their addresses need `/noticia/` in them."""
    items = [_shown(article) | {"href": _href(article, hrefs)} for article in articles]
    return _render("agencia_brasil_listing.html", items=items, next_page=next_page)


def agencia_brasil_article(article: MadeUp, *, json_ld: bool = False) -> str:
    """Return an article of Agência Brasil."""
    tagged = _json_ld(article, broken=False) if json_ld else None
    return _render("agencia_brasil_article.html", article=_shown(article), json_ld=tagged)


def tv_brasil_listing(articles: Sequence[MadeUp], *, next_page: int | None = None, hrefs: Hrefs = "path") -> str:
    """Return a page of the latest programmes of TV Brasil."""
    items = [_shown(article) | {"href": _href(article, hrefs)} for article in articles]
    return _render("tv_brasil_listing.html", items=items, next_page=next_page)


def tv_brasil_article(article: MadeUp, *, json_ld: bool = False, dates: Literal["no_ar", "single"] = "no_ar") -> str:
    """Return an article of TV Brasil."""
    tagged = _json_ld(article, broken=False) if json_ld else None
    return _render("tv_brasil_article.html", article=_shown(article), json_ld=tagged, dates=dates)


def memoria_listing(articles: Sequence[MadeUp]) -> str:
    """Return the joint list of all EBC sites, as it was until February 2026."""
    items = [_shown(article) | {"href": article.url} for article in articles]
    return _render("memoria_listing.html", items=items)


def _shown(article: MadeUp) -> dict[str, Any]:
    """Return an article with its texts as templates want them: blocks by kind, dates as São Paulo shows them."""
    local = article.published.astimezone(SAO_PAULO)
    return {
        **vars(article),
        "blocks": [{"kind": type(block).__name__, **vars(block)} for block in article.body],
        "iso": local.isoformat(timespec="seconds"),
        "words": f"{local.day} de {_MONTHS[local.month - 1]} de {local.year}",
        **_clock(article.published, ""),
        **(_clock(article.updated, "updated_") if article.updated else {"updated_day": None}),
    }


def _clock(instant: datetime, prefix: str) -> Mapping[str, str]:
    local = instant.astimezone(SAO_PAULO)
    return {
        f"{prefix}day": f"{local:%d/%m/%Y}",
        f"{prefix}time": f"{local:%Hh%M}",
        f"{prefix}clock": f"{local:%H:%M}",
    }


def _href(article: MadeUp, hrefs: Hrefs) -> str:
    if hrefs == "path":
        return urlsplit(article.url).path
    return article.url.replace("https:", "http:", 1) if hrefs == "http" else article.url


def _json_ld(article: MadeUp, *, broken: bool) -> str:
    local = article.published.astimezone(SAO_PAULO)
    text = json.dumps(
        {
            "@context": "https://schema.org",
            "@type": "NewsArticle",
            "headline": f'O título "{article.title}"',
            "image": [article.image],
            "datePublished": local.isoformat(timespec="seconds"),
            "dateModified": (article.updated or article.published).astimezone(SAO_PAULO).isoformat(timespec="seconds"),
            "publisher": {"@type": "Organization", "name": "Órgão", "foundingDate": "1990-01-01"},
        },
        ensure_ascii=False,
        indent=1,
    ).replace("</", "<\\/")
    return text.replace('\\"', '"') if broken else text  # as sites do that put the title in without escaping it


def _padded(template: str, size: int) -> str:
    bare = len(_render(template, filler="").encode())
    return _render(template, filler="0123456789abcdef" * (max(0, size - bare) // 16 + 1))


@cache
def _environment() -> Environment:
    templates = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined)


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(**values)
