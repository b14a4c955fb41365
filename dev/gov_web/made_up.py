"""Made-up articles, as no layout in particular: what the pages of `pages.py` show and a parser has to give back.

The same seed gives the same article on every machine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from dev.sample_vocabulary import CATEGORIES, TAGS, Lexicon

__all__ = [
    "Block",
    "Embed",
    "Heading",
    "Items",
    "Link",
    "MadeUp",
    "Paragraph",
    "Picture",
    "Quote",
    "Table",
    "links_of",
    "made_up",
    "made_up_many",
    "texts_of",
]

LISTING = "https://www.gov.br/orgao/pt-br/assuntos/noticias"
#: Every made-up article that is not told when was published in the days before this instant.
_NEWEST = datetime(2026, 2, 5, 16, 47, tzinfo=UTC)


@dataclass(frozen=True)
class Link:
    """A link within a text."""

    text: str
    url: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of texts and links."""

    parts: Sequence[str | Link]


@dataclass(frozen=True)
class Heading:
    """A heading within the text; `level` from 2."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Items:
    """A list."""

    entries: Sequence[str]
    ordered: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its first row is the head."""

    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Quote:
    """What somebody said."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A picture with its caption."""

    url: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Embed:
    """A video of another site within the text."""

    url: str
    title: str


Block = Paragraph | Heading | Items | Table | Quote | Picture | Embed


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """An article.

    Attributes:
        url: its public address.
        title: without white space around.
        body: the blocks of its text, in order; the first one is a paragraph.
        published: with a zone, to the second.
        updated: when it was last changed; None if never.
        subtitle: the line below the title.
        lead: the line above the title ("chapéu"); TV Brasil's programme.
        category: what the site files it under.
        tags: its keywords.
        image: the picture on top.
        video_url: of TV Brasil.
    """

    url: str
    title: str
    body: Sequence[Block]
    published: datetime
    updated: datetime | None = None
    subtitle: str | None = None
    lead: str | None = None
    category: str | None = None
    tags: Sequence[str] = ()
    image: str | None = None
    video_url: str | None = None


def made_up(seed: int, *, listing: str = LISTING, published: datetime | None = None, rich: bool = True) -> MadeUp:
    """Return an article.

    Args:
        seed: the same seed gives the same article.
        listing: address of the listing below which the article lies.
        published: None for some instant of the first days of February 2026, later for smaller seeds.
        rich: whether the body has headings, lists, a table, a quote, a picture and a video besides paragraphs.
    """
    rng = np.random.default_rng([2026, seed])
    lexicon = Lexicon(rng)
    title = f"{lexicon.titles(1)[0]} – etapa {seed}"
    sentences = (text for text in lexicon.sentences(1, 120) if "](" not in text)
    url = f"{listing.split('?', maxsplit=1)[0].rstrip('/')}/{_slug(title)}"
    at = published or _NEWEST - timedelta(hours=7 * seed, minutes=int(rng.integers(60)), seconds=int(rng.integers(60)))
    plain = [_paragraph(rng, sentences, url) for _ in range(int(rng.integers(4, 9)))]
    body: list[Block] = list(plain)
    if rich:
        for block in _extras(rng, sentences, url):
            body.insert(int(rng.integers(1, len(body) + 1)), block)
    return MadeUp(
        url=url,
        title=title,
        body=tuple(body),
        published=at,
        updated=at + timedelta(hours=2, minutes=3) if _happens(rng, 0.5) else None,
        subtitle=next(sentences) if _happens(rng, 0.6) else None,
        lead=f"Chapéu {_words(rng, 2)}" if _happens(rng, 0.5) else None,
        category=str(rng.choice(CATEGORIES)),
        tags=tuple(sorted({str(tag) for tag in rng.choice(TAGS, int(rng.integers(0, 5)))})),
        image=f"{url}/foto-{seed}.jpg/@@images/{rng.integers(10**8):08d}.jpeg" if _happens(rng, 0.9) else None,
    )


def made_up_many(count: int, *, seed: int = 0, listing: str = LISTING, rich: bool = True) -> list[MadeUp]:
    """Return articles, newest first."""
    articles = [made_up(seed + number, listing=listing, rich=rich) for number in range(count)]
    return sorted(articles, key=lambda article: article.published, reverse=True)


def texts_of(article: MadeUp) -> Iterator[str]:
    """Yield every piece of text of an article's body, in order."""
    for block in article.body:
        match block:
            case Paragraph(parts):
                yield from (part if isinstance(part, str) else part.text for part in parts)
            case Items(entries):
                yield from entries
            case Table(rows):
                yield from (cell for row in rows for cell in row)
            case Picture(caption=text) | Heading(text=text) | Quote(text=text):
                yield text


def links_of(article: MadeUp) -> list[str]:
    """Return the addresses that an article's text leads to, in order."""
    paragraphs = [block for block in article.body if isinstance(block, Paragraph)]
    return [part.url for paragraph in paragraphs for part in paragraph.parts if isinstance(part, Link)]


def _paragraph(rng: np.random.Generator, sentences: Iterator[str], url: str) -> Paragraph:
    parts: list[str | Link] = [" ".join(next(sentences) for _ in range(int(rng.integers(1, 4)))) + " "]
    if _happens(rng, 0.4):
        parts += [Link(f"Veja {_words(rng, 2)}", f"{url}/anexo-{rng.integers(10**6)}.pdf"), f". {next(sentences)}"]
    return Paragraph(tuple(parts))


def _extras(rng: np.random.Generator, sentences: Iterator[str], url: str) -> list[Block]:
    return [
        Heading(f"Sobre {_words(rng, 2)}"),
        Heading(f"Etapa {_words(rng, 2)}", 3),
        Items(tuple(next(sentences) for _ in range(3))),
        Items((next(sentences), next(sentences)), ordered=True),
        Table((("Unidade", "Valor"), (_words(rng, 1), "10"), (_words(rng, 1), "20"))),
        Quote(next(sentences)),
        Picture(f"{url}/interna.jpg/@@images/image/large", "Equipe reunida", f"Foto: {_words(rng, 2)}"),
        Embed(f"https://www.youtube.com/embed/v{rng.integers(10**8)}", f"Vídeo {_words(rng, 1)}"),
    ]


def _happens(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _words(rng: np.random.Generator, count: int) -> str:
    letters = "abcdefghijlmnoprstuvz"
    return " ".join("".join(rng.choice(list(letters), 7)) for _ in range(count))


def _slug(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:90]
