"""robots.txt, as RFC 9309 reads it: groups of agents, longest match, `*` and `$`.

The standard library's reader takes `*` and `$` for ordinary signs, and Plone's robots.txt is made of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

__all__ = ["ALLOW_ALL", "Robots", "parse_robots"]

#: What is read of the file, in characters (RFC 9309 §2.5 asks for 500 KiB at least).
_LARGEST = 512 * 1024
_LINE = re.compile(r"\s*(?P<name>[A-Za-z-]+)\s*:\s*(?P<value>[^#]*)")
#: Paths are compared percent-encoded (RFC 9309 §2.2.2); what is encoded already stays.
_SAFE = "/:@!$&'()*+,;=-._~%?"
#: Longer rules are none that a person wrote.
_LONGEST_RULE = 2000


@dataclass(frozen=True)
class Robots:
    """What one agent may ask of one host.

    Attributes:
        rules: (pattern as written, whether it allows), longest first; among equals those that allow.
    """

    rules: tuple[tuple[str, bool], ...] = ()

    def allows(self, url: str) -> bool:
        """Return whether an address may be asked."""
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if path == "/robots.txt":
            return True
        return next((allows for rule, allows in self.rules if _matches(rule, path)), True)


#: Of a host that has no robots.txt.
ALLOW_ALL = Robots()


def parse_robots(text: str, *, agent: str) -> Robots:
    """Read robots.txt.

    Args:
        text: the file.
        agent: our product token, such as "destaquesgovbr"; a group for it, in any case, beats that for `*`.

    Source:
        RFC 9309.
    """
    groups: dict[str, list[tuple[str, bool]]] = {}
    names: list[str] = []
    in_rules = False
    for line in text[:_LARGEST].lstrip("\ufeff").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, value = match["name"].lower(), match["value"].strip()
        if name == "user-agent":
            names = [value.lower()] if in_rules else [*names, value.lower()]
            in_rules = False
            groups.setdefault(names[-1], [])
        elif name in {"allow", "disallow"}:
            in_rules = True
            if value and len(value) <= _LONGEST_RULE:  # an empty rule forbids nothing
                for group in names:
                    groups[group].append((quote(value, safe=_SAFE), name == "allow"))
    rules = groups.get(agent.lower(), groups.get("*", []))
    return Robots(tuple(sorted(rules, key=lambda rule: (-len(rule[0]), not rule[1]))))


def _matches(rule: str, path: str) -> bool:
    """Return whether a rule matches a path from its beginning; in time that grows only with their lengths."""
    ends, wanted = rule.endswith("$"), rule.removesuffix("$")
    first, *rest = wanted.split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    for number, piece in enumerate(rest, start=1):
        if ends and number == len(rest):
            return len(path) - len(piece) >= at and path.endswith(piece)
        at = path.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return not ends or at == len(path)
