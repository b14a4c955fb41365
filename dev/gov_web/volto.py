"""Answers of the Plone 6 interface (`/++api++/…/@search`), from made-up articles (FIELD_FACTS §3.6)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from itertools import count
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from data_platform.models.days import SAO_PAULO
from dev.gov_web.made_up import Block, Embed, Heading, Items, Link, MadeUp, Paragraph, Picture, Quote, Table
from dev.gov_web.pages import classic_article

__all__ = ["volto_search"]

Body = Literal["blocks", "nested", "text", "text_string"]
_NO_DATE = "1969-12-31T00:00:00+00:00"  # what Plone says of an item that has none


def volto_search(
    articles: Sequence[MadeUp],
    *,
    listing: str,
    start: int = 0,
    total: int | None = None,
    size: int = 25,
    body: Body = "blocks",
    subjects: Literal["subjects", "Subject"] = "subjects",
    utc: bool = True,
    relative_image: bool = False,
    dated: bool = True,
) -> str:
    """Return one answer.

    Args:
        articles: those of this answer, newest first.
        listing: address of the listing that was asked for.
        start: place of the first of them in the whole listing.
        total: articles of the whole listing; None if these are all.
        size: how many were asked for.
        body: blocks one after the other, blocks inside columns, grids and accordions, or HTML in `text`.
        subjects: under which name the keywords come.
        utc: whether instants are given in UTC or at −03:00.
        relative_image: whether the picture's address is relative.
        dated: whether `effective` has a date.
    """
    whole = len(articles) if total is None else total
    host, agency, rest = _parts(listing)
    api = f"{host}/{agency}/++api++/{rest}/@search"
    zone = UTC if utc else SAO_PAULO
    answer: dict[str, Any] = {
        "@id": f"{api}?portal_type=News%20Item&b_start={start}&b_size={size}",
        "items": [
            _item(a, api=f"{host}/{agency}/++api++", body=body, subjects=subjects, zone=zone, relative=relative_image)
            | ({} if dated else {"effective": _NO_DATE})
            for a in articles
        ],
        "items_total": whole,
    }
    if start + len(articles) < whole:
        answer["batching"] = {"@id": api, "next": f"{api}?b_start={start + size}", "first": api}
    return json.dumps(answer, ensure_ascii=False)


def _item(
    article: MadeUp,
    *,
    api: str,
    body: Body,
    subjects: str,
    zone: tzinfo,
    relative: bool,
) -> dict[str, Any]:
    image = article.image
    found: dict[str, Any] = {
        "@id": article.url.replace(f"{api.removesuffix('/++api++')}/", f"{api}/", 1),
        "@type": "News Item",
        "UID": uuid5(NAMESPACE_URL, article.url).hex,
        "title": article.title,
        "description": article.subtitle or "",
        "effective": _iso(article.published, zone),
        "modified": _iso(article.updated or article.published, zone),
        "review_state": "published",
        subjects: list(article.tags),
        "image": None
        if image is None
        else {
            "content-type": "image/jpeg",
            "download": image.removeprefix(f"{article.url}/") if relative else image,
            "scales": {"large": {"download": f"{image}-large", "width": 768, "height": 512}},
        },
    }
    if body in {"blocks", "nested"}:
        blocks = [_block(block) for block in article.body]
        layout = _nested(blocks) if body == "nested" else _layout(blocks)
        return found | layout
    html = _html_body(article)
    return found | {"text": html if body == "text_string" else {"data": html, "content-type": "text/html"}}


def _layout(blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return blocks with their order; the mapping itself is in another one, as it often is."""
    whole = [{"@type": "title"}, {"@type": "description"}, *blocks, {"@type": "separator"}]
    keyed = {f"b{number}": block for number, block in enumerate(whole)}
    return {"blocks": dict(reversed(keyed.items())), "blocks_layout": {"items": list(keyed)}}


def _nested(blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the same blocks inside columns, a grid, an accordion and a group, as editors like to do."""
    third = max(1, len(blocks) // 3)
    first, second, last = blocks[:third], blocks[third : 2 * third], blocks[2 * third :]
    number = count()

    def inner(content: Sequence[dict[str, Any]]) -> dict[str, Any]:
        keyed = {f"n{next(number)}": block for block in content}
        return {"blocks": dict(reversed(keyed.items())), "blocks_layout": {"items": list(keyed)}}

    columns = {"@type": "columnsBlock", "data": inner([inner(first), inner(second[:1])])}
    grid = {"@type": "gridBlock", **inner(second[1:])}
    panel = {"@type": "accordionPanel", "title": "Saiba mais", **inner([{"@type": "group", "data": inner(last)}])}
    return _layout([columns, grid, {"@type": "accordion", "data": inner([panel])}])


def _block(block: Block) -> dict[str, Any]:  # noqa: PLR0911 -- one for each kind
    match block:
        case Paragraph(parts):
            children = [_inline(part) for part in parts]
            plain = "".join(part if isinstance(part, str) else part.text for part in parts)
            return {"@type": "slate", "plaintext": plain, "value": [{"type": "p", "children": children}]}
        case Heading(text, level):
            return {"@type": "slate", "plaintext": text, "value": [_node(f"h{level}", text)]}
        case Items(entries, ordered):
            items = [_node("li", entry) for entry in entries]
            value = [{"type": "ol" if ordered else "ul", "children": items}]
            return {"@type": "slate", "plaintext": " ".join(entries), "value": value}
        case Table(rows):
            shown = [{"key": str(r), "cells": [_cell(r, cell) for cell in row]} for r, row in enumerate(rows)]
            return {"@type": "slateTable", "table": {"rows": shown}}
        case Quote(text):
            return {"@type": "slate", "plaintext": text, "value": [_node("blockquote", text)]}
        case Picture(url, alt, caption):
            return {"@type": "image", "url": url, "alt": alt, "description": caption, "align": "center"}
        case Embed(url, _):
            return {"@type": "video", "url": url.replace("/embed/", "/watch?v=")}


def _inline(part: str | Link) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    return {"type": "link", "data": {"url": part.url}, "children": [{"text": part.text}]}


def _node(kind: str, text: str) -> dict[str, Any]:
    return {"type": kind, "children": [{"text": text}]}


def _cell(row: int, text: str) -> dict[str, Any]:
    return {"key": text, "type": "data" if row else "header", "value": [_node("p", text)]}


def _html_body(article: MadeUp) -> str:
    """Return the body as the classic editor stored it, before the site moved."""
    page = classic_article(article, noise=0)
    return page.partition('id="parent-fieldname-text">')[2].partition("</div></div>")[0]


def _iso(instant: datetime, zone: tzinfo) -> str:
    return instant.astimezone(zone).isoformat(timespec="seconds")


def _parts(listing: str) -> tuple[str, str, str]:
    scheme, rest = listing.split("?", maxsplit=1)[0].rstrip("/").split("://")
    host, agency, path = rest.split("/", 2)
    return f"{scheme}://{host}", agency, path
