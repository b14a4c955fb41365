"""Takes what is not the text out of the body of an article: share bars, bylines, labels, what other columns hold.

Rules and their history: FIELD_FACTS §3.4. Two guards stand against the incidents told there, where a word in a class
name or a text took whole articles away. A rule takes out a short block only, never one with a body of text. And if what
is left of the text is too little all the same, the rules that guess are not applied to that page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bs4 import BeautifulSoup
from bs4.element import Comment, NavigableString, Tag

from data_platform.jobs.scraper.bounds import shallow
from data_platform.jobs.scraper.dates import is_dateline
from data_platform.jobs.scraper.images import cover_url, picture_url
from data_platform.jobs.scraper.markup import absolute_url, is_share_link, tidy

__all__ = ["DROPPED", "MINIMAL_CLEANING", "CleanBody", "Surroundings", "clean_body", "is_furniture"]

MINIMAL_CLEANING = "minimal_cleaning"
#: Shares that must be left of paragraphs and of characters, or the rules that guess were wrong.
_LEAST_PARAGRAPHS, _LEAST_TEXT = 0.4, 0.25
#: In characters; shorter paragraphs are not counted, being labels as often as not.
_FEW_WORDS = 30
#: Characters outside of links that a block may hold to be taken out by the name of its class.
_MOST_TEXT, _MOST_SHARE_TEXT, _MOST_SECTION = 200, 80, 60
#: Longer texts are no label, dateline or signature.
_LINE = 160
#: Levels of elements in one another; pages that people made have under thirty.
_DEEPEST = 60

#: Elements that hold no text.
DROPPED = ("script", "style", "noscript", "template", "svg", "link", "meta", "input", "button", "select", "textarea")
_PLAYERS = ("iframe", "embed", "video", "audio")
_TRACKERS = re.compile(r"googletagmanager|doubleclick|/gtag/|facebook\.com/plugins|platform\.twitter\.com/widgets")
_LINES = frozenset(("p", "div", "li", "ul", "dl", "section", "small", "h2", "h3", "h4", "h5", "h6", "time", "header"))
_SENTENCES = frozenset(("p", "li", "td", "th", "a", "strong", "b", "em", "i", "span", "blockquote", "h2", "h3", "h4"))

#: The converter takes the square of its length to make one blank of it.
_LONG_BLANK = re.compile(r"[ \t\r\n]{500,}+")
_CLASS_WORDS = re.compile(r"[a-z0-9]+")
_SHARE_WORDS = frozenset(("share", "sharing", "social", "sociais", "compartilhe", "compartilhar", "compartilhamento"))
_META_WORDS = frozenset(
    ("keyword", "keywords", "category", "categoria", "tags", "metadata", "breadcrumb", "breadcrumbs")
)
_BYLINES = frozenset(
    ("documentbyline", "documentpublished", "documentmodified", "publisheddate", "updateddate", "date-info")
)
_PICTURE = re.compile(r"\.(?:jpe?g|png|gif|webp)(?:$|/)|/@@images/|/image_view", re.IGNORECASE)
_COPY = re.compile(r"(?:link para )?copiar (?:para (?:a )?área de transferência|(?:o )?link)", re.IGNORECASE)
_LABEL = re.compile(
    r"(?:categorias?|tags?|palavras[- ]chave)\s*:?|compartilh(?:e|ar)(?: (?:isso|isto|esta|essa|este|esse|a|o|notícia"
    r"|página|conteúdo|com|nas?|em|suas?|redes|sociais|por|pelo|via|facebook|twitter|x|whatsapp|linkedin|telegram|e-mail))*\s*:?",
    re.IGNORECASE,
)
#: Ways to reach a press office, the words that announce them, and what stands between: a line with nothing else in it
#: is no sentence. Each is taken out in turn, since one expression for the whole line could try for hours.
_REACH = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}|(?:\+?55\s?)?\(?\d{2}\)?[ .-]{0,3}\d{4,5}[ .-]?\d{4}|@[\w.]{2,40}"
)
_REACH_WORDS = re.compile(
    r"\b(?:e-?mails?|contatos?|telefones?|tel|fones?|whats ?app|imprensa|atendimento à imprensa|informações à imprensa"
    r"|ramal|e|ou)\b",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"[\s/|,;:.()–—-]+")
#: A signature, which ends without a full stop, unlike a sentence about a press office.
_SIGNATURE = re.compile(
    r"(?:assessoria|ascom|diretoria|coordenação|coordenadoria|núcleo|gerência|secretaria)\b[\w –/,-]{0,40}?"
    r"\b(?:comunicação|imprensa)\b[^.!?]{0,90}",
    re.IGNORECASE,
)
_MOST_CONTACT = 150


@dataclass(frozen=True)
class Surroundings:
    """What is known of an article before its body is read.

    Attributes:
        base: what its relative links start from.
        title: as shown in the page; its heading is taken out of the body.
        lead: the line above the title; blocks that repeat it are taken out.
        subtitle: likewise.
    """

    base: str
    title: str | None = None
    lead: str | None = None
    subtitle: str | None = None


@dataclass(frozen=True)
class CleanBody:
    """The body of an article without what is not its text.

    Attributes:
        soup: its elements; links and pictures absolute.
        cover: the first picture that may stand for the article; None if there is none.
        notes: `minimal_cleaning` if the rules that guess would have taken too much.
    """

    soup: BeautifulSoup
    cover: str | None
    notes: tuple[str, ...]


def clean_body(html: str, around: Surroundings) -> CleanBody:
    """Take what is not the text out of the body of an article.

    Args:
        html: the body, well-formed.
        around: what is known already.
    """
    soup = _certain(html, around)
    before = _measure(soup)
    _guess(soup)
    paragraphs, characters = _measure(soup)
    if paragraphs < before[0] * _LEAST_PARAGRAPHS or characters < before[1] * _LEAST_TEXT:
        soup = _certain(html, around)
        return CleanBody(soup, _cover(soup, around.base), (MINIMAL_CLEANING,))
    return CleanBody(soup, _cover(soup, around.base), ())


def _certain(html: str, around: Surroundings) -> BeautifulSoup:
    """Apply the rules that cannot take text away, and make every address absolute."""
    # Reading what lies in each element takes the depth times the size, and the converter calls itself for each level.
    bounded = shallow(html.encode("utf-8", "replace"), _DEEPEST).decode()
    soup = BeautifulSoup(_LONG_BLANK.sub(_shortened, bounded), "html.parser")
    for comment in soup.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    for tag in _tags(soup):
        if tag.name in DROPPED:
            tag.decompose()
        elif tag.name in _PLAYERS:
            _as_link(soup, tag, around.base)
        elif tag.name == "a":
            _mend_link(tag, around.base)
        elif tag.name == "img":
            _mend_picture(tag, around.base)
        elif _is_told_elsewhere(tag, around):
            tag.decompose()
    return soup


def _shortened(blank: re.Match[str]) -> str:
    return "\n" if "\n" in blank[0] or "\r" in blank[0] else " "


def _guess(soup: BeautifulSoup) -> None:
    """Apply the rules that go by names of classes and by what a text looks like."""
    for tag in _tags(soup):
        words = _class_words(tag)
        if (
            (words & _SHARE_WORDS and _is_short(tag, _MOST_SHARE_TEXT))
            or ((words & _META_WORDS or tag.name == "nav" or "portal" in words) and _is_short(tag, _MOST_TEXT))
            or (tag.name == "p" and "section" in words and _is_short(tag, _MOST_SECTION))
            or (_is_line(tag) and is_furniture(_text_up_to(tag, _LINE) or ""))
        ):
            tag.decompose()


def _tags(soup: BeautifulSoup) -> Iterator[Tag]:
    """Yield elements in order, those that were taken out meanwhile left out."""
    for tag in soup.find_all(True):
        # What was taken out has no name. Its property `decomposed` would search all that lies in an element that was
        # not: the library takes an attribute that an element lacks for the name of one to be found in it.
        if isinstance(tag, Tag) and tag.name:
            yield tag


def _is_told_elsewhere(tag: Tag, around: Surroundings) -> bool:
    """Whether an element shows what has a column of its own: title, lead, subtitle, dates."""
    classes = _classes(tag)
    if tag.name == "h1":
        return "documentfirstheading" in classes or _says(tag, around.title)
    if "nitfsubtitle" in classes or classes & _BYLINES:
        return _is_short(tag, _MOST_TEXT)
    return tag.name in _LINES and (_says(tag, around.lead) or _says(tag, around.subtitle))


def is_furniture(text: str) -> bool:
    """Whether a line is none of an article's text: its dates, a label, a signature, a way to reach somebody."""
    return 0 < len(text) <= _LINE and (
        is_dateline(text)
        or _LABEL.fullmatch(text) is not None
        or (len(text) <= _MOST_CONTACT and (_SIGNATURE.fullmatch(text) is not None or _is_contact(text)))
    )


def _is_contact(text: str) -> bool:
    """Whether a line is a way to reach somebody and nothing else."""
    rest, found = _REACH.subn(" ", text)
    return bool(found) and not _BETWEEN.sub("", _REACH_WORDS.sub(" ", rest))


def _is_line(tag: Tag) -> bool:
    """Whether an element stands on lines of its own; a span does unless it is part of a sentence."""
    if tag.name == "span":
        return tag.parent is None or tag.parent.name not in _SENTENCES
    return tag.name in _LINES


def _mend_link(tag: Tag, base: str) -> None:
    href = _attribute(tag, "href")
    if is_share_link(href) or _COPY.fullmatch(_text_up_to(tag, _LINE) or ""):
        tag.decompose()
        return
    url = absolute_url(href, base)
    if url is None and href and href.strip().lower().startswith("mailto:"):
        url = href.strip()
    has_text = bool(tidy(tag.get_text()))
    if url is None or not (has_text or tag.find("img")) or (not has_text and _PICTURE.search(url)):
        tag.unwrap()  # nowhere to go, nothing to see, or a picture that leads to itself
        return
    tag.attrs = {"href": url}


def _mend_picture(tag: Tag, base: str) -> None:
    url = picture_url({name: _attribute(tag, name) for name in tag.attrs}, base)
    if url is None:
        tag.decompose()
    else:
        tag.attrs = {"src": url, "alt": tidy(_attribute(tag, "alt") or "")}


def _as_link(soup: BeautifulSoup, tag: Tag, base: str) -> None:
    """Put a link in place of a player, which Markdown does not have."""
    source = tag if tag.has_attr("src") else tag.find("source")
    url = absolute_url(_attribute(source, "src"), base) if isinstance(source, Tag) else None
    if url is None or _TRACKERS.search(url):
        tag.decompose()
        return
    link = soup.new_tag("a", href=url)
    link.string = tidy(_attribute(tag, "title") or "") or url
    tag.replace_with(link)


def _cover(soup: BeautifulSoup, base: str) -> str | None:
    found = (cover_url({"src": _attribute(tag, "src")}, base) for tag in soup.find_all("img") if isinstance(tag, Tag))
    return next((url for url in found if url), None)


def _measure(soup: BeautifulSoup) -> tuple[int, int]:
    """Return how many paragraphs of more than a few words there are, and how many characters in all."""
    paragraphs = sum(1 for p in soup.find_all("p") if isinstance(p, Tag) and _text_up_to(p, _FEW_WORDS) is None)
    return paragraphs, len(tidy(soup.get_text(" ")))


def _says(tag: Tag, text: str | None) -> bool:
    return bool(text) and _text_up_to(tag, len(text or "")) == text


def _is_short(tag: Tag, most: int) -> bool:
    """Whether an element has at most so many characters outside of links."""
    total = 0
    for string in tag.strings:
        if isinstance(string, NavigableString) and string.strip() and string.find_parent("a") is None:
            total += len(string.strip())
            if total > most:
                return False
    return True


def _text_up_to(tag: Tag, most: int) -> str | None:
    """Return an element's text on one line; None if it is longer than `most`.

    Reads no more than it needs: elements lie in one another, and reading each whole would take the square of a page.
    """
    pieces: list[str] = []
    total = 0
    for string in tag.strings:
        pieces.append(string)
        total += len(string.strip())
        if total > most:
            return None
    text = tidy(" ".join(pieces))
    return text if len(text) <= most else None


def _attribute(tag: Tag, name: str) -> str | None:
    value = tag.get(name)
    return value if isinstance(value, str) or value is None else " ".join(value)


def _classes(tag: Tag) -> set[str]:
    return set((_attribute(tag, "class") or "").lower().split())


def _class_words(tag: Tag) -> set[str]:
    return set(_CLASS_WORDS.findall(f"{_attribute(tag, 'class') or ''} {_attribute(tag, 'id') or ''}".lower()))
