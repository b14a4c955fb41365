"""Sites on classic Plone: their listings in four kinds of markup, and their articles (FIELD_FACTS §3.2, §3.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from selectolax.lexbor import LexborHTMLParser, LexborNode

from data_platform.jobs.scraper import json_ld
from data_platform.jobs.scraper.cleaning import Surroundings
from data_platform.jobs.scraper.dates import find_when, is_dateline, published_in, updated_in
from data_platform.jobs.scraper.markdown import CONTENT_MISSING, read_body
from data_platform.jobs.scraper.markup import (
    absolute_url,
    base_of,
    first_text,
    is_share_link,
    parse_page,
    text_of,
    unique_tags,
)
from data_platform.jobs.scraper.problems import EmptyContentError, HtmlChangedError, SaysEmptyError
from data_platform.jobs.scraper.records import BODY_MISSING, Article, Listed, ListingPage, When
from data_platform.jobs.scraper.signs import is_volto_page, raise_if_refused
from data_platform.models.urls import canonical_url

__all__ = ["LISTING_MISSED", "parse_article", "parse_listing"]

#: In bytes: a first page without items that is larger has them in a form that is not known here (FIELD_FACTS §3.5).
LISTING_MISSED = 5000

_CONTAINERS = ("article.tileItem", "ul.noticias > li", "div.entries article.entry", "div#content-core div.item")
#: What a page of a listing has though no item is left for it; a page that came in its place has none.
_FRAMES = "#content-core, article.tileItem, ul.noticias, div.entries, ul.paginacao, .listingBar"
_LINKS = ("a.summary.url", "span.summary a.url", "a.summary")
_CATEGORIES = ("span.subtitle", "div.subtitulo-noticia", "div.categoria-noticia")
_TAGS = ("div.keywords a.link-category", "div.subject-noticia a.link-category")
_DATED = re.compile(r"(?:^|[\s_-])(?:date|data|datetime|timestamp|published|publicado|publicacao)", re.IGNORECASE)
_OTHER_LINK = re.compile(
    r"share|social|compartilh|nav|menu|button|\bbtn|icon|breadcrumb|pagina|link-category", re.IGNORECASE
)
_READ_MORE = re.compile(
    r"(?:leia|saiba|ver|veja|continue(?: lendo)?|continuar lendo)(?: mais| a notícia)?\W*", re.IGNORECASE
)
_SAYS_EMPTY = re.compile(
    r"\b(?:não há|não existem|não foram encontrad[oa]s|nenhuma?|sem) (?:\w+ ){0,2}"
    r"(?:itens|item|notícias?|conteúdos?|resultados?|registros?)\b|there are (?:currently )?no items",
    re.IGNORECASE,
)

_BODIES = ("div#content", "#content", "#content-core", "article.newsitem, article.news-item", "main article")
_SUBTITLES = ("p.description", ".documentDescription")
_CAPTIONED = re.compile(r"image|media|foto|figure|photo", re.IGNORECASE)
#: Words of the sites' menus, which their breadcrumbs have in place of a category.
_SECTIONS = re.compile(
    r"página inicial|início|home|portal|assuntos?|notícias?|últimas notícias|comunicação|imprensa|acesso à informação"
    r"|centra(?:l|is) de conteúdos?|canais de atendimento|acontece|destaques|todas as notícias|\d{4}",
    re.IGNORECASE,
)
_LEAD_LENGTHS = range(6, 50)
#: In characters of markup: what is longer is no line of dates.
_DATELINE_MARKUP = 1600
_CUT_OFF = ("…", "...")


def parse_listing(html: str, url: str, *, first: bool = False) -> ListingPage:
    """Read one page of a listing.

    Args:
        html: the page.
        url: its address.
        first: whether it is the first page, which has items on any site that works.

    Returns:
        Its items, each address once; none for a page behind the last one, or where the site says that it has none.

    Raises:
        AntiBotError: a challenge for browsers or a firewall's refusal came in its place.
        EmptyContentError: a login form, a notice of works on the site or of an error, or an empty answer did; or a
            later page has neither items nor the frame of a listing.
        HtmlChangedError: a first page, large and without one item that is known; the site has another layout
            (`signs.is_volto_page` says whether it is Plone 6's, whose interface can be asked).
        SaysEmptyError: a page of Plone 6 says that it has no items.
    """
    page = parse_page(html)
    base = base_of(page, url)
    items = next((found for name in _CONTAINERS if (found := _items(page, name, base, url))), [])
    if not items:
        _raise_if_missed(page, html, url, first=first)
    return ListingPage(items=tuple(items), next_url=_next_url(page, base))


def parse_article(html: str, url: str, listed: Listed) -> Article:
    """Read an article's page.

    Args:
        html: the page.
        url: its address.
        listed: what the listing says of it; used where the page does not say, and for the title, which the dataset
            has always had from there, unless the listing cuts it off.

    Raises:
        AntiBotError: a challenge for browsers came in its place.
        EmptyContentError: a login form, a notice of works on the site, or an empty answer did.
    """
    page = parse_page(html)
    base = base_of(page, url)
    content = _content(page)
    if content is None or _is_login(content):
        raise_if_refused(html, url)
    heading = first_text(page, "h1.documentFirstHeading", "#content h1", "h1")
    title = listed.title if listed.title and not listed.title.endswith(_CUT_OFF) else heading or listed.title
    published, updated = _dates(page, content)
    tags = unique_tags(_tag_texts(page, content)) or unique_tags(listed.tags)
    category = listed.category or _category(page)
    if content is None:
        return Article(
            url=url,
            title=title,
            published=published or listed.published,
            updated=updated,
            category=category,
            tags=tags,
            notes=(CONTENT_MISSING, BODY_MISSING),
        )
    lead, subtitle = _lead(content), _subtitle(content)
    around = Surroundings(base, heading or title, lead, subtitle)
    body = read_body(content.html or "", around)
    return Article(
        url=url,
        title=title,
        published=published or listed.published,
        updated=updated,
        subtitle=subtitle,
        editorial_lead=lead,
        content=body.content,
        image=body.cover,
        category=category,
        tags=tags,
        notes=body.notes,
    )


def _items(page: LexborHTMLParser, container: str, base: str, url: str) -> list[Listed]:
    found: dict[str, Listed] = {}
    here = canonical_url(url)
    for element in page.css(container):
        item = _item(element, base)
        key = canonical_url(item.url) if item else None
        if item and key and key != here:
            found.setdefault(key, item)
    return list(found.values())


def _item(element: LexborNode, base: str) -> Listed | None:
    for link in _links(element):
        url = absolute_url(link.attributes.get("href"), base)
        if url is None:
            continue
        title = text_of(link)
        if not title or _READ_MORE.fullmatch(title):
            title = first_text(element, "h1, h2, h3, h4") or title
        if not title:
            continue
        return Listed(
            url=url,
            title=title,
            published=_listed_when(element),
            category=first_text(element, *_CATEGORIES),
            tags=unique_tags(text_of(tag) for tag in element.css(", ".join(_TAGS))),
        )
    return None


def _links(element: LexborNode) -> Iterator[LexborNode]:
    """Yield the links of an item that may lead to its article, the likeliest first."""
    for selector in _LINKS:
        yield from element.css(selector)
    # Of the others those in a heading are better than the rest: there a category or an author has links too.
    for selector in ("h1 a[href], h2 a[href], h3 a[href], h4 a[href]", "a[href]"):
        for link in element.css(selector):
            marks = f"{link.attributes.get('class') or ''} {link.attributes.get('role') or ''}"
            parent = link.parent
            if parent is not None and parent.mem_id != element.mem_id:
                marks += f" {parent.attributes.get('class') or ''}"
            if not _OTHER_LINK.search(marks) and not is_share_link(link.attributes.get("href")) and text_of(link):
                yield link


def _listed_when(element: LexborNode) -> When | None:
    byline = first_text(element, "span.documentByLine", ".documentByLine")
    if byline and (when := published_in(byline) or find_when(byline)):
        return when
    if when := find_when(first_text(element, "span.data")):
        return when
    for time in element.css("time[datetime]"):
        if when := find_when(time.attributes.get("datetime")):
            return when
    for dated in element.css("[class]"):
        if _DATED.search(dated.attributes.get("class") or "") and (when := find_when(text_of(dated))):
            return when
    text = text_of(element)
    return published_in(text) or find_when(text)


def _raise_if_missed(page: LexborHTMLParser, html: str, url: str, *, first: bool) -> None:
    raise_if_refused(html, url)
    is_volto = is_volto_page(html)
    says_empty = bool(_SAYS_EMPTY.search(first_text(page, "#content-core", "#content", "main", "body") or ""))
    if is_volto and says_empty:
        raise SaysEmptyError(f"the listing {url} says that it is empty; it is Plone 6's, whose interface knows")
    if not is_volto and (says_empty or (not first and page.css_first(_FRAMES) is not None)):
        return
    size = len(html.encode("utf-8", "replace"))
    if not first and not is_volto:
        raise EmptyContentError(f"{url} answered with what is no page of a listing", hint="it is asked again later")
    if size <= LISTING_MISSED:
        raise EmptyContentError(f"the listing {url} has nothing in it ({size} bytes)", hint="it is asked again later")
    known = "Plone 6, which gives its items through its interface only" if is_volto else "none that is known"
    raise HtmlChangedError(
        f"no article is found in the listing {url} ({size} bytes; its layout is {known})",
        hint="look at the page, then correct the site's entry in the catalogue or the parser",
    )


def _next_url(page: LexborHTMLParser, base: str) -> str | None:
    for selector in ("a.proximo[href]", "li.next a[href]", ".pagination a[rel=next]", "link[rel=next]", "a[rel=next]"):
        for link in page.css(selector):
            if url := absolute_url(link.attributes.get("href"), base):
                return url
    return None


def _content(page: LexborHTMLParser) -> LexborNode | None:
    return next((found for name in _BODIES if (found := page.css_first(name)) is not None), None)


def _is_login(content: LexborNode) -> bool:
    return content.css_first("form input[type=password]") is not None


def _dates(page: LexborHTMLParser, content: LexborNode | None) -> tuple[When | None, When | None]:
    published, updated = json_ld.dates_of(page)
    if published is None or not published.exact:
        published = (
            find_when(first_text(page, "span.documentPublished span.value", "span.documentPublished")) or published
        )
    updated = updated or find_when(first_text(page, "span.documentModified span.value", "span.documentModified"))
    if content is not None and (published is None or updated is None):
        # The text itself may speak of something that was published on a day: lines of nothing but dates count.
        lines = [text for element in content.css("p, div, span")[:400] if is_dateline(text := _short_text(element))]
        published = published or next((when for line in lines if (when := published_in(line))), None)
        updated = updated or next((when for line in lines if (when := updated_in(line))), None)
    return published, updated


def _short_text(element: LexborNode) -> str:
    """Return an element's text if it may be a dateline; elements lie in one another, so long ones are not gathered."""
    if next(islice(element.traverse(), _DATELINE_MARKUP // len("<br>"), None), None) is not None:
        return ""
    return text_of(element) if len(element.html or "") <= _DATELINE_MARKUP else ""


def _lead(content: LexborNode) -> str | None:
    if lead := first_text(content, "p.nitfSubtitle", ".nitfSubtitle"):
        return lead
    first = next((text for p in content.css("p") if (text := text_of(p))), "")
    is_shouted = first.isupper() and len(first) in _LEAD_LENGTHS
    return first if is_shouted else None


def _subtitle(content: LexborNode) -> str | None:
    for paragraph in content.css("p.discreet"):
        text = text_of(paragraph)
        if text and not _is_caption(paragraph):
            return text
    return first_text(content, *_SUBTITLES)


def _is_caption(paragraph: LexborNode) -> bool:
    """Whether a paragraph belongs to a picture; the class `discreet` is given to captions too."""
    parent = paragraph.parent
    if parent is None:
        return False
    marks = f"{parent.tag} {parent.attributes.get('class') or ''} {parent.attributes.get('id') or ''}"
    return _CAPTIONED.search(marks) is not None and parent.css_first("img") is not None


def _category(page: LexborHTMLParser) -> str | None:
    links = page.css("nav.portal-breadcrumbs a, #portal-breadcrumbs a")
    if len(links) > 1 and (text := text_of(links[1])) and not _SECTIONS.fullmatch(text):
        return text
    for selector in ('meta[property="article:section"]', 'meta[name="category"]', 'meta[name="DC.subject"]'):
        meta = page.css_first(selector)
        if meta is not None and (text := (meta.attributes.get("content") or "").strip()):
            return text
    return None


def _tag_texts(page: LexborHTMLParser, content: LexborNode | None) -> list[str]:
    for root in (content, page):
        for selector in ('a[href*="origem=keyword"]', "div.keywords a"):
            found = [text_of(link) for link in root.css(selector)] if root is not None else []
            if found:
                return found
    return []
