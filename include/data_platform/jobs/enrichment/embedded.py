"""Themes and summaries without any service or model: words of the tree against words of the article.

A stand-in for the real thing, and it says so (`approximate`): good for a laptop, for tests and demonstrations. A theme
is known by the words of its label; a word tells more the fewer first levels have it. A label scores by those of its
words that the article has, weighted by where they stand there, and by how much of the label they make up, squared: one
word of five says little. A first level has its own score twice and the three best below it. A second level is named
only if the article has the words of its own label, a third one never. The summary is the article's lead. The same
article has the same answer everywhere and always.

Of 485 real rows of four agencies it gives the published first level in 38 %, and has it among its first three in 66 %;
below a right first level its second level is right in 6 of 16, and third levels were right in 0 of 11, which is why it
names none (measured by hand against themes_tree.yaml; naming always the most frequent level would be right in 23 %).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from data_platform.jobs.enrichment.codes import ThemeCodes
from data_platform.jobs.enrichment.interface import Enrichment, Gathering, Progress, Row, Ticket
from data_platform.jobs.enrichment.lead import lead_of
from data_platform.jobs.enrichment.words import stems
from data_platform.models.themes import Theme

__all__ = ["EmbeddedEnricher"]

#: What a word counts for where it stands. In the text its repetitions count less and less.
_WEIGHTS: Mapping[str, float] = {"title": 3.0, "subtitle": 2.0, "tags": 3.0, "category": 1.5}
#: Letters of a text that are looked at: what it is about is said early.
_LOOKED_AT = 3000
#: How often a first level's own label counts, and how many of the labels below it.
_FIRST_LEVEL, _BELOW = 2.0, 3
#: Share of the words of a label, by what they tell, that an article must have for a second level.
_ENOUGH_OF_LABEL = 0.75


@dataclass(frozen=True)
class _Index:
    """The words of the tree.

    Attributes:
        themes: in order of their codes.
        places: word -> (place of a theme, what the word tells) of each label that has it.
        totals: of each theme what all words of its label tell.
    """

    themes: Sequence[Theme]
    places: Mapping[str, Sequence[tuple[int, float]]]
    totals: Sequence[float]


@dataclass(frozen=True)
class _Scores:
    """What an article's words are worth to the themes that have any of them: code -> value.

    Attributes:
        score: of the label.
        share: of the label's words, by what they tell.
    """

    score: Mapping[str, float]
    share: Mapping[str, float]


class EmbeddedEnricher:
    """Ranks the themes of a tree by their words.

    Args:
        codes: the tree.
    """

    name = "embedded"
    version = "1"
    approximate = True
    waits = False

    def __init__(self, codes: ThemeCodes) -> None:
        self._codes = codes

    def close(self) -> None:
        """Nothing is held open."""

    def submit(self, rows: Sequence[Row]) -> Progress:
        """Answer at once."""
        found = Gathering()
        for row in rows:
            code = self.theme_of(row)
            title, subtitle = str(row.get("title") or ""), row.get("subtitle")
            summary = lead_of(row.get("content"), title=title, subtitle=subtitle)
            if code is None and summary is None:
                found.fail([row["unique_id"]], "no_words", "no word of the tree is in it, and it has no text")
                continue
            found.ready.append(
                Enrichment(
                    unique_id=row["unique_id"],
                    theme_code=code,
                    summary=summary,
                    enricher=self.name,
                    version=self.version,
                    approximate=True,
                )
            )
        return found.progress()

    def collect(self, tickets: Sequence[Ticket], *, final: bool = False) -> Progress:  # noqa: ARG002 - the interface
        """Nothing is ever pending."""
        return Progress(pending=tuple(tickets))

    def theme_of(self, row: Row) -> str | None:
        """Return the code of the deepest theme that the words of a row speak for; None if none do."""
        found = self._scores(self._words_of(row))
        ranked = self._ranked(found)
        if not ranked:
            return None
        return self._below(ranked[0], found) or ranked[0]

    def first_levels_of(self, row: Row) -> list[str]:
        """Return the codes of the first levels that the words of a row speak for, the best first."""
        return self._ranked(self._scores(self._words_of(row)))

    def _ranked(self, found: _Scores) -> list[str]:
        below: dict[str, list[float]] = {}
        for code, score in found.score.items():
            first = code.partition(".")[0]
            below.setdefault(first, [])
            if code != first:
                below[first].append(score)
        worth = {
            first: _FIRST_LEVEL * found.score.get(first, 0.0) + math.fsum(sorted(scores, reverse=True)[:_BELOW])
            for first, scores in below.items()
        }
        return sorted(worth, key=lambda first: (-worth[first], first))

    def _below(self, above: str, found: _Scores) -> str | None:
        fit = [
            (score, code)
            for code, score in found.score.items()
            if code.rpartition(".")[0] == above and found.share[code] >= _ENOUGH_OF_LABEL
        ]
        return min(fit, key=lambda pair: (-pair[0], pair[1]))[1] if fit else None

    def _scores(self, words: Mapping[str, float]) -> _Scores:
        index = self._index
        worth: dict[int, float] = {}
        told: dict[int, float] = {}
        for word, weight in words.items():
            for place, tells in index.places.get(word, ()):
                worth[place] = worth.get(place, 0.0) + tells * math.log1p(weight)
                told[place] = told.get(place, 0.0) + tells
        share = {place: amount / index.totals[place] for place, amount in told.items()}
        return _Scores(
            {index.themes[place].code: worth[place] * share[place] ** 2 for place in sorted(worth)},
            {index.themes[place].code: part for place, part in share.items()},
        )

    def _words_of(self, row: Row) -> dict[str, float]:
        """Return stem -> weight; in an order that does not depend on the process, since sums of floats do on theirs."""
        counts = Counter(stems(str(row.get("content") or "")[:_LOOKED_AT]))
        words = {word: 1.0 + math.log(count) for word, count in counts.items()}
        parts: dict[str, Sequence[str]] = {
            "title": stems(str(row.get("title") or "")),
            "subtitle": stems(str(row.get("subtitle") or "")),
            "tags": stems(" ".join(map(str, row.get("tags") or ()))),
            "category": stems(str(row.get("category") or "")),
        }
        for name, its in parts.items():
            for word in dict.fromkeys(its):
                words[word] = words.get(word, 0.0) + _WEIGHTS[name]
        return words

    @cached_property
    def _index(self) -> _Index:
        themes = sorted(self._codes.tree.by_code.values(), key=lambda theme: theme.code)
        labels = [list(dict.fromkeys(stems(theme.label))) for theme in themes]
        # In how many first levels a word occurs says how much it tells.
        having: dict[str, set[str]] = {}
        for theme, words in zip(themes, labels, strict=True):
            for word in words:
                having.setdefault(word, set()).add(theme.code.partition(".")[0])
        firsts = len(self._codes.first_levels)
        tells = {word: math.log(1.0 + firsts / len(codes)) for word, codes in having.items()}
        places: dict[str, list[tuple[int, float]]] = {}
        for place, words in enumerate(labels):
            for word in words:
                places.setdefault(word, []).append((place, tells[word]))
        return _Index(themes, places, [math.fsum(tells[word] for word in words) for words in labels])
