"""Blocks of Plone 6 (Volto) as HTML, which then goes the way of every other body (FIELD_FACTS §3.6).

Blocks come as a mapping without order, with the order beside it; blocks hold blocks (columns, grids, accordions). Text
is a tree of Slate nodes, the older kind (Draft.js) or HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from data_platform.jobs.scraper.markup import parse_page

__all__ = ["blocks_html"]

#: How deep blocks or nodes may lie in one another and keep their form; no editor goes so far.
_DEEPEST = 30
#: How deep an address may lie in objects and lists.
_DEEPEST_HREF = 8
#: Kinds that show nothing of the article's own, or what has a column of its own.
_SILENT = frozenset(
    (
        *("title", "description", "leadimage", "separator", "dividerBlock", "spacer", "toc", "tableOfContents"),
        *("listing", "search", "socialMedia", "share", "breadcrumb", "contextNavigation", "eventMetadata"),
    )
)
_INLINE_TAGS = {"strong": "strong", "b": "strong", "em": "em", "i": "em", "del": "del", "s": "del", "sub": "sub"} | {
    "sup": "sup",
    "code": "code",
}
_BLOCK_TAGS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre"))
_LINKS = frozenset(("link", "a", "simpleLink"))
_DRAFT_TAGS = {
    "header-one": "h2",
    "header-two": "h2",
    "header-three": "h3",
    "header-four": "h4",
    "unordered-list-item": "li",
    "ordered-list-item": "li",
    "blockquote": "blockquote",
}


def blocks_html(holder: Mapping[str, Any], notes: list[str]) -> str:
    """Return the text of an object with `blocks` and `blocks_layout` as HTML, in the order of the layout.

    Args:
        holder: an article, or a block that holds blocks.
        notes: gets what could not be shown: `unknown_block:<type>`, `blocks_outside_layout`, `blocks_too_deep`.
    """
    return "\n".join(_blocks(holder, notes, 0))


def _blocks(holder: Mapping[str, Any], notes: list[str], depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        notes.append("blocks_too_deep")
        yield from _too_deep(holder, notes)
        return
    for block in _ordered(holder, notes):
        yield from _block(block, notes, depth)


def _too_deep(holder: Mapping[str, Any], notes: list[str]) -> Iterator[str]:
    """Yield what the blocks of a holder say, whatever lies in them, without a call for each level."""
    waiting = _ordered(holder, notes)[::-1]
    while waiting:
        block = waiting.pop()
        kind = str(block.get("@type") or "")
        if kind in _SILENT:
            continue
        inside = [one for place in _holders(block) for one in _ordered(place, notes)]
        known = _known(kind, block)
        if known is not None:
            yield known
            continue
        yield _paragraphs(_text(block.get("title"))) + ("" if inside else _salvaged(block))
        waiting += reversed(inside)


def _ordered(holder: Mapping[str, Any], notes: list[str]) -> list[Mapping[str, Any]]:
    blocks = holder.get("blocks")
    if isinstance(blocks, list):
        return [block for block in blocks if isinstance(block, dict)]
    if not isinstance(blocks, dict):
        return []
    layout = holder.get("blocks_layout")
    order = layout.get("items") if isinstance(layout, dict) else None
    if not isinstance(order, list) or not order:
        return [block for block in blocks.values() if isinstance(block, dict)]
    names = list(dict.fromkeys(name for name in order if isinstance(name, str) and name in blocks))
    if len(names) < len(blocks):
        notes.append("blocks_outside_layout")  # the site does not show them either
    return [blocks[name] for name in names if isinstance(blocks[name], dict)]


def _block(block: Mapping[str, Any], notes: list[str], depth: int) -> Iterator[str]:
    kind = str(block.get("@type") or "")
    if kind in _SILENT:
        return
    known = _known(kind, block)
    if known is not None:
        yield known
        return
    heading = _text(block.get("title")) or _text(block.get("headline"))
    inside = [html for holder in _holders(block) for html in _blocks(holder, notes, depth + 1)]
    if heading and (inside or kind):
        yield f"<h3>{escape(heading)}</h3>"
    yield from inside
    if not any(_holders(block)) and kind:
        notes.append(f"unknown_block:{kind}"[:80])
        yield _salvaged(block)


def _known(kind: str, block: Mapping[str, Any]) -> str | None:  # noqa: PLR0911 -- one for each kind
    """Return a block that holds no others; None if it is not of a kind that is known."""
    match kind:
        case "slate" | "heading" | "detachedTextBlock":
            return _slate(block)
        case "text":
            return _rich(block.get("text"))
        case "html":
            return _well_formed(_text(block.get("html")))
        case "table" | "slateTable":
            return _table(block)
        case "image" | "__image":
            return _image(block)
        case "video" | "maps" | "iframe" | "embed" | "vimeo" | "youtube" | "audio":
            return _embed(block)
        case "quote" | "blockquote" | "testimonial":
            return _quote(block)
        case "teaser" | "__button" | "button" | "buttonBlock" | "callToAction":
            return _teaser(block)
        case _:
            return None


def _holders(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the places inside a block that hold blocks: itself, its data, its columns."""
    data = block.get("data")
    for place in (block, data if isinstance(data, dict) else {}):
        if "blocks" in place:
            yield place
        for name in ("columns", "panels", "tabs"):
            several = place.get(name)
            if isinstance(several, list):
                yield from (one for one in several if isinstance(one, dict) and "blocks" in one)


def _slate(block: Mapping[str, Any]) -> str:
    value = block.get("value")
    if isinstance(value, list) and (html := "".join(_node(node, 0) for node in value)).strip():
        return html
    plain = _text(block.get("plaintext")) or _text(block.get("heading"))
    return _paragraphs(plain)


def _node(node: object, depth: int) -> str:
    """Return a Slate node as HTML."""
    if not isinstance(node, dict):
        return ""
    if depth > _DEEPEST:
        return escape("".join(_leaves(node)))
    if "text" in node and "children" not in node:
        return _leaf(node)
    children = node.get("children")
    inside = "".join(_node(child, depth + 1) for child in children) if isinstance(children, list) else ""
    kind = str(node.get("type") or "p")
    if kind in _LINKS:
        href = _href(node.get("data")) or _href(node)
        return f'<a href="{escape(href)}">{inside}</a>' if href else inside
    tag = _INLINE_TAGS.get(kind) or (kind if kind in _BLOCK_TAGS else None)
    if tag is None:
        return f"<p>{inside}</p>" if depth == 0 else inside
    return f"<{tag}>{inside}</{tag}>"


def _leaves(node: object) -> Iterator[str]:
    """Yield the texts in a Slate node, without a call for each level."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            children = one.get("children")
            if isinstance(children, list):
                waiting += reversed(children)
            elif isinstance(text := one.get("text"), str):
                yield text


def _leaf(node: Mapping[str, Any]) -> str:
    text = node.get("text")
    html = escape(text).replace("\n", "<br>") if isinstance(text, str) else ""
    for mark, tag in (("bold", "strong"), ("italic", "em"), ("strikethrough", "del"), ("code", "code")):
        if node.get(mark) is True and html.strip():
            html = f"<{tag}>{html}</{tag}>"
    return html


def _rich(value: object) -> str:
    """Return rich text, HTML or of the older editor, as HTML."""
    if isinstance(value, str):
        return _well_formed(value) if "<" in value else _paragraphs(value)
    if isinstance(value, list):
        return "".join(_node(node, 0) for node in value)
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("data"), str):
        return _well_formed(str(value["data"]))
    lines = value.get("blocks")
    return "".join(_draft_line(line) for line in lines if isinstance(line, dict)) if isinstance(lines, list) else ""


def _draft_line(line: Mapping[str, Any]) -> str:
    text = _text(line.get("text"))
    tag = _DRAFT_TAGS.get(str(line.get("type")), "p")
    html = f"<{tag}>{escape(text)}</{tag}>" if text else ""
    return f"<ul>{html}</ul>" if tag == "li" and html else html


def _table(block: Mapping[str, Any]) -> str:
    table = block.get("table")
    rows = table.get("rows") if isinstance(table, dict) else None
    if not isinstance(rows, list):
        return ""
    return f"<table>{''.join(_row(row) for row in rows if isinstance(row, dict))}</table>"


def _row(row: Mapping[str, Any]) -> str:
    cells = row.get("cells")
    found = []
    for cell in cells if isinstance(cells, list) else []:
        if isinstance(cell, dict):
            tag = "th" if cell.get("type") == "header" else "td"
            found.append(f"<{tag}>{_rich(cell.get('value'))}</{tag}>")
    return f"<tr>{''.join(found)}</tr>"


def _image(block: Mapping[str, Any]) -> str:
    url = _href(block) or _href(block.get("image"))
    if not url:
        return ""
    if not _has_view(url):
        url = f"{url.rstrip('/')}/@@images/image"
    caption = _text(block.get("description")) or _text(block.get("caption")) or _text(block.get("credit"))
    shown = f'<p><img src="{escape(url)}" alt="{escape(_text(block.get("alt")))}"></p>'
    return shown + (f"<p>{escape(caption)}</p>" if caption else "")


def _has_view(url: str) -> bool:
    """Whether an address is of a picture itself; else it is of the object that holds one."""
    return (
        "@@" in url
        or url.startswith("data:")
        or not any(mark in url for mark in (".gov.br/", "resolveuid", "/++api++"))
    )


def _embed(block: Mapping[str, Any]) -> str:
    url = _href(block) or _text(block.get("src"))
    title = _text(block.get("title")) or _text(block.get("alt"))
    return f'<p><a href="{escape(url)}">{escape(title or url)}</a></p>' if url else ""


def _quote(block: Mapping[str, Any]) -> str:
    for name in ("value", "quote", "text", "citation"):
        if inside := _rich(block.get(name)):
            by = _text(block.get("author")) or _text(block.get("source"))
            return f"<blockquote>{inside}</blockquote>" + (f"<p>{escape(by)}</p>" if by else "")
    return _paragraphs(_text(block.get("plaintext")))


def _teaser(block: Mapping[str, Any]) -> str:
    url = _href(block) or _href(block.get("href"))
    title = _text(block.get("title")) or _text(block.get("buttonText")) or url
    line = f'<p><a href="{escape(url)}">{escape(title)}</a></p>' if url else _paragraphs(title)
    return line + _paragraphs(_text(block.get("description")))


def _salvaged(block: Mapping[str, Any]) -> str:
    """Return what text can be found in a block of an unknown kind."""
    for name in ("value", "text", "html", "body", "content", "plaintext"):
        if html := _rich(block.get(name)):
            return html
    return ""


def _href(value: object, depth: int = 0) -> str:
    """Return an address, which stands as text, in an object, or in a list of one."""
    if depth > _DEEPEST_HREF:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Sequence) and value:
        return _href(value[0], depth + 1)
    if isinstance(value, dict):
        for name in ("url", "@id", "href", "link"):
            if found := _href(value.get(name), depth + 1):
                return found
    return ""


def _well_formed(html: str) -> str:
    """Return HTML with every element closed: what people typed into one block must not reach into the next."""
    body = parse_page(html).body
    return (body.inner_html or "") if body is not None else ""


def _paragraphs(text: str) -> str:
    lines: Iterable[str] = (line.strip() for line in text.split("\n"))
    return "".join(f"<p>{escape(line)}</p>" for line in lines if line)


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
