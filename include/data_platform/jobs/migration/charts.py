"""Pieces of the run report's page: numbers as words, inline SVG charts, marked differences.

A chart has no width of its own. Places along x are percentages and heights are pixels, so letters
keep their size on a telephone and on paper. Colours are classes of the page's stylesheet, which
knows light and dark. Every value goes through `Markup.format`, which escapes it: labels come from
the data and are not trusted.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher

from markupsafe import Markup, escape

from data_platform.models.days import SAO_PAULO

_FLOOR = 1.2  # percent of a chart's width: what exists is drawn at least this wide
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_LANES = 24  # more workers than this share packed lanes
_DRAWN = 120  # segments drawn one by one; of more, neighbours are drawn together
_BINS = 90
_NOTHING = "\N{EN DASH}"
_GAP = "\N{NO-BREAK SPACE}"  # between a number and its unit
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


# ---------------------------------------------------------------- numbers as words


def thousands(value: object) -> str:
    """Return a value as text, numbers with thousands separators and nothing as a dash."""
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() or abs(value) >= 1e5 else f"{value:,.4g}"  # noqa: PLR2004
    return str(value)


def rows(number: int) -> str:
    """Return a number of rows in words."""
    return f"{number:,} row{'' if number == 1 else 's'}"


def clock(instant: datetime | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return an instant as São Paulo's clocks show it.

    Raises:
        ValueError: it has no zone.
    """
    if instant is None:
        return _NOTHING
    if instant.tzinfo is None:
        raise ValueError(f"an instant needs a zone to be shown: {instant!r}")
    return instant.astimezone(SAO_PAULO).strftime(form)


def fit(page: str) -> str:
    """Return the page with a visible mark for each character that HTML forbids or that could turn a line around."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", page)


def short(value: float) -> str:
    """Return a number in few letters for an axis: 12k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """Return a share (0 to 1) as a percentage in which a small share that exists is not shown as zero."""
    if share == 0:
        return f"0{_GAP}%"
    if share < 0.0001:  # noqa: PLR2004 - below it two decimals would say 0.00 %
        return f"<{_GAP}0.01{_GAP}%"
    return f"{min(share, 0.9999 if share < 1 else share) * 100:.2f}{_GAP}%"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    if seconds < 10:  # noqa: PLR2004 - below it the tenths matter
        return f"{seconds:.1f}{_GAP}s"
    whole = round(seconds)
    for unit, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit}{_GAP}{name}" + (f" {rest}{_GAP}{part_name}" if rest else "")
    return f"{whole}{_GAP}s"


def shorten(text: str, limit: int) -> str:
    """Return the text cut to a number of characters, saying how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit:,} characters)"


# ---------------------------------------------------------------- charts


@dataclass(frozen=True)
class Part:
    """One piece of a stacked bar; `tone` is a class of the stylesheet."""

    label: str
    value: int
    tone: str


@dataclass(frozen=True)
class Span:
    """One segment on the clock of its run: `start` and `end` in seconds since the first began."""

    name: str
    lane: str
    start: float
    end: float
    rows: int
    rejected: int


def _svg(height: float, label: str, content: Iterable[Markup], kind: str = "chart") -> Markup:
    return Markup('<svg class="{}" width="100%" height="{:g}" role="img" aria-label="{}">{}</svg>').format(
        kind, height, label, Markup("").join(content)
    )


def _rect(x: float, y: float, width: float, height: float, tone: str, title: str) -> Markup:  # noqa: PLR0917 - four of them are a rectangle
    return Markup(
        '<rect class="{}" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}"><title>{}</title></rect>'
    ).format(tone, x, y, width, height, title)


def _text(x: float, y: float, text: str, anchor: str = "start", tone: str = "axis") -> Markup:
    return Markup('<text class="{}" x="{:.2f}%" y="{:.1f}" text-anchor="{}">{}</text>').format(tone, x, y, anchor, text)


def _rule(y: float, tone: str = "grid") -> Markup:
    return Markup('<line class="{}" x1="0" x2="100%" y1="{:.1f}" y2="{:.1f}"/>').format(tone, y, y)


def _empty(words: str) -> Markup:
    return Markup('<p class="empty">{}</p>').format(words)


def stacked_bar(parts: Sequence[Part], *, label: str) -> Markup:
    """Return one bar cut into its parts, each wide enough to be seen."""
    shown = [p for p in parts if p.value > 0]
    total = sum(p.value for p in shown)
    if not total:
        return _empty("No rows to draw.")
    widths = [max(100 * p.value / total, _FLOOR) for p in shown]
    scale, x = 100 / sum(widths), 0.0
    marks = []
    for part, width in zip(shown, widths, strict=True):
        tip = f"{part.label}: {part.value:,} ({percent(part.value / total)})"
        marks.append(_rect(x, 0, width * scale, 26, part.tone, tip))
        x += width * scale
    return _svg(26, label, marks, "chart stack")


def _ticks(top: float) -> list[float]:
    """Return two to five round numbers from above zero to `top`."""
    if top <= 0:
        return []
    size = 10 ** math.floor(math.log10(top / 3))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if top / (size * m) <= 4.5)  # noqa: PLR2004
    return [step * i for i in range(1, int(top / step + 1e-9) + 1)]


def year_columns(rows: Mapping[int, int], *, label: str) -> Markup:
    """Return one column per year; a gap of more than eight years is drawn as one narrow break."""
    if not rows:
        return _empty("No rows with a date.")
    years = list[int | None]()
    for known in sorted(rows):
        last = years[-1] if years else known - 1
        years += [None] if last is not None and known - last > 9 else range((last or known) + 1, known)  # noqa: PLR2004
        years.append(known)
    top, plot, head = max(*rows.values(), 1), 150.0, 16.0
    base, slot = head + plot, 100 / max(len(years), 6)
    marks = [_rule(base - plot * t / top) for t in _ticks(top)]
    named = -9
    for i, year in enumerate(years):
        x = i * slot
        if year is None:
            marks.append(_text(x + slot / 2, base - 3, "⋯", "middle"))
            continue
        number = rows.get(year, 0)
        height = max(plot * number / top, 1.5) if number else 0.0
        marks.append(_rect(x + slot * 0.12, base - height, slot * 0.76, height, "loaded", f"{year}: {number:,}"))
        if (len(years) <= 8 or year % 5 == 0 or years[i - 1] is None) and i - named > min(3, 24 // len(years)):  # noqa: PLR2004
            marks.append(_text(x + slot / 2, base + 15, str(year), "middle"))
            named = i
    marks.append(_rule(base, "base"))
    marks += [_text(0, base - plot * t / top - 4, short(t)) for t in _ticks(top)]
    return _svg(base + 20, label, marks)


def _clock_marks(seconds: float, y: float) -> list[Markup]:
    step = next((s for s in _STEPS if seconds / s <= 5), math.ceil(seconds / 5 / 86400) * 86400)  # noqa: PLR2004
    marks = [_text(0, y, "0")]
    for i in range(1, int(seconds / step) + 1):
        x = 100 * i * step / seconds
        marks.append(_text(x, y, duration(i * step).replace(".0", ""), "end" if x > 94 else "middle"))  # noqa: PLR2004
    return marks


def rates(spans: Sequence[Span], bins: int = _BINS) -> list[float]:
    """Return rows per second in equal slices of the wall time, each segment's rows spread evenly over it."""
    wall = max((s.end for s in spans), default=0.0)
    if wall <= 0:
        return []
    width, totals = wall / bins, [0.0] * bins
    for s in spans:
        first = min(int(s.start / width), bins - 1)
        if s.end <= s.start:
            totals[first] += s.rows
            continue
        for b in range(first, min(int(s.end / width), bins - 1) + 1):
            totals[b] += s.rows * max(min(s.end, (b + 1) * width) - max(s.start, b * width), 0.0) / (s.end - s.start)
    return [t / width for t in totals]


def rate_area(spans: Sequence[Span], *, label: str) -> Markup:
    """Return rows per second over wall time as a stepped area, with the mean as a dashed line."""
    values = rates(spans)
    top = max(values, default=0.0)
    if top <= 0:
        return _empty("No segment has a beginning, an end and rows, so there is no rate to draw.")
    wall, plot, head = max(s.end for s in spans), 150.0, 24.0
    mean, base = sum(s.rows for s in spans) / wall, head + plot
    steps = " ".join(f"L{i} {top - v:.4g}L{i + 1} {top - v:.4g}" for i, v in enumerate(values))
    marks = [_rule(base - plot * t / top) for t in _ticks(top)]
    marks.append(
        Markup(
            '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 {} {:.4g}" preserveAspectRatio="none">'
            '<path class="area" d="M0 {:.4g}{}L{} {:.4g}Z"/></svg>'
        ).format(head, plot, len(values), top, top, steps, len(values), top)
    )
    level = base - plot * mean / top
    marks += [_rule(base, "base"), _rule(level, "mean"), *_clock_marks(wall, base + 15)]
    marks += [_text(0, base - plot * t / top - 4, short(t)) for t in _ticks(top)]
    marks.append(_text(100, 9, f"dashed: mean while loading, {short(mean)} rows/s", "end"))
    return _svg(base + 20, label, marks)


def _pack(spans: Iterable[Span]) -> list[list[Span]]:
    """Lay spans into as few lanes as possible in which none covers another."""
    lanes: list[list[Span]] = []
    for s in sorted(spans, key=lambda s: (s.start, s.end)):
        free = next((lane for lane in lanes if lane[-1].end <= s.start + 1e-6), None)
        if free is None:
            lanes.append([s])
        else:
            free.append(s)
    return lanes


def _together(lane: list[Span], size: int) -> Iterable[Span]:
    for i in range(0, len(lane), size):
        group = lane[i : i + size]
        name = group[0].name if len(group) == 1 else f"{group[0].name} to {group[-1].name}"
        rows, rejected = sum(s.rows for s in group), sum(s.rejected for s in group)
        yield Span(name, group[0].lane, group[0].start, group[-1].end, rows, rejected)


def segment_strip(spans: Sequence[Span], *, label: str) -> Markup:
    """Return the segments as blocks on the clock, one lane per worker; a red edge says rejects."""
    wall = max((s.end for s in spans), default=0.0)
    if wall <= 0:
        return _empty("No segment has a beginning and an end, so there is no strip to draw.")
    workers: dict[str, list[Span]] = {}
    for s in spans:
        workers.setdefault(s.lane, []).append(s)
    if len(workers) > _LANES:
        workers = {f"{len(workers)} workers, packed together": list(spans)}
    size, y, marks = math.ceil(len(spans) / _DRAWN), 0.0, list[Markup]()
    for worker, own in sorted(workers.items()):
        busy = sum(s.end - s.start for s in own) / wall
        noun = "segment" if len(own) == 1 else "segments"
        words = f"{shorten(worker, 40)} · {len(own):,} {noun}"
        marks.append(_text(0, y + 12, words + (f" · busy {busy:.0%}" if busy <= 1.0001 else ""), tone="name"))  # noqa: PLR2004
        y += 17
        for lane in _pack(own):
            for s in _together(lane, size):
                x, width = 100 * s.start / wall, max(100 * (s.end - s.start) / wall, 0.2)
                tip = f"segment {s.name}: {s.rows:,} rows in {duration(s.end - s.start)}, {s.rejected:,} rejected"
                marks.append(_rect(x, y, width, 18, "span", tip))
                if s.rejected:
                    marks.append(_rect(x, y + 15, width, 4, "rejected", tip))
                if width > 5 and len(s.name) <= 4:  # noqa: PLR2004
                    marks.append(_text(x + width / 2, y + 12.5, s.name, "middle", "inside"))
            y += 22
        y += 8
    return _svg(y + 16, label, [*marks, _rule(y, "base"), *_clock_marks(wall, y + 14)])


# ---------------------------------------------------------------- marked differences


@dataclass(frozen=True)
class MarkedPair:
    """Two values with what differs marked, and where the first difference is, in words."""

    source: Markup
    target: Markup
    where: str


def _seen(text: str) -> Markup:
    """Return text in which what the eye cannot tell apart (spaces, accents alone, controls) is named."""
    out = [] if text else [Markup('<i class="sign">nothing</i>')]
    for ch in text:
        if ch == " ":
            out.append(Markup('<i class="sign">space</i>'))
        elif unicodedata.category(ch)[0] in "ZCM":
            name = unicodedata.name(ch, "").lower() or {"\n": "line feed", "\r": "carriage return", "\t": "tab"}.get(ch)
            out.append(Markup('<i class="sign">U+{:04X}{}</i>').format(ord(ch), f" {name}" if name else ""))
        else:
            out.append(escape(ch))
    return Markup("").join(out)


def _whole(value: object) -> Markup:
    if value is None:
        return Markup('<i class="sign">null</i>')
    if value == "":
        return Markup('<i class="sign">empty text</i>')
    return escape(shorten(_as_text(value), 240))


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _blocks(a: str, b: str) -> list[tuple[bool, str, str]]:
    """Cut both texts into parts that agree and parts that do not; likeness by chance is no agreement."""
    blocks: list[tuple[bool, str, str]] = []
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        same = kind == "equal" and (i2 - i1 > 3 or i1 == 0 or i2 == len(a))  # noqa: PLR2004
        part = (same, a[i1:i2], b[j1:j2])
        if blocks and blocks[-1][0] == same:
            part = (same, blocks[-1][1] + part[1], blocks.pop()[2] + part[2])
        blocks.append(part)
    return blocks


def mark_difference(source: object, target: object, *, before: int = 40, after: int = 120) -> MarkedPair:
    """Compare two values character by character around the first place where they differ.

    Args:
        source: value in the source; a value that is no text is compared as JSON.
        target: value in the table.
        before: characters shown before the first difference.
        after: characters shown from it on.
    """
    if source is None or target is None or "" in (source, target):
        return MarkedPair(_whole(source), _whole(target), "one side has no value")
    a, b = _as_text(source), _as_text(target)
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if at == len(a) == len(b):
        return MarkedPair(_whole(a), _whole(b), "the values look the same as text; their types or digests differ")
    start = max(at - before, 0)
    windows = a[start : at + after], b[start : at + after]
    sides: tuple[list[Markup], list[Markup]] = ([], [])
    if start:
        for side in sides:
            side.append(Markup('<i class="sign">{:,} characters alike</i>…').format(start))
    for same, *parts in _blocks(*windows):
        for side, part in zip(sides, parts, strict=True):
            side.append(escape(part) if same else Markup("<mark>{}</mark>").format(_seen(part)))
    for side, text in zip(sides, (a, b), strict=True):
        if len(text) > at + after:
            side.append(Markup('…<i class="sign">{:,} more characters</i>').format(len(text) - at - after))
    where = f"first difference at character {at + 1:,}; the source has {len(a):,}, the table {len(b):,}"
    return MarkedPair(Markup("").join(sides[0]), Markup("").join(sides[1]), where)
