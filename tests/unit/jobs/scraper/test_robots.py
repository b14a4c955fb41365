"""robots.txt as RFC 9309 reads it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.jobs.scraper.robots import ALLOW_ALL, parse_robots

PLONE = """
# robots.txt
User-agent: *
Disallow: /*sendto_form$
Disallow: /*/++api++/*/@search*
Disallow: /fechado/
Allow: /fechado/aberto
Disallow:
Sitemap: https://www.gov.br/sitemap.xml.gz

User-Agent: GPTBot
User-agent: Mau
Disallow: /
"""


def allows(text: str, path: str, agent: str = "destaquesgovbr") -> bool:
    return parse_robots(text, agent=agent).allows(f"https://www.gov.br{path}")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/aeb/pt-br/assuntos/noticias", True),
        ("/aeb/sendto_form", False),
        ("/aeb/sendto_form?x=1", True),
        ("/aeb/sendto_form/mais", True),
        ("/aeb/++api++/pt-br/noticias/@search?b_start=0", False),
        ("/fechado/x", False),
        ("/fechado", True),
        ("/fechado/aberto/x", True),
        ("", True),
        ("/robots.txt", True),
    ],
)
def test_patterns_of_plone(path: str, allowed: bool) -> None:
    assert allows(PLONE, path) is allowed


def test_a_group_of_ours_beats_that_for_all() -> None:
    text = f"{PLONE}\nUser-agent: DestaquesGovBr\nDisallow: /so-nos\n"
    assert allows(text, "/fechado/x")
    assert not allows(text, "/so-nos")


def test_groups_of_others_are_not_ours() -> None:
    assert not allows(PLONE, "/aeb", agent="gptbot")
    assert not allows(PLONE, "/aeb", agent="mau")


def test_groups_of_one_agent_are_one_and_among_equals_allow_wins() -> None:
    text = "user-agent: *\ndisallow: /a\n\nuser-agent: x\ndisallow: /\n\nuser-agent: *\nallow: /a\ndisallow: /b"
    assert allows(text, "/a")
    assert not allows(text, "/b")


@pytest.mark.parametrize("text", ["", "<html><body>404</body></html>", "\x00\x01", "Disallow: /", "User-agent:"])
def test_what_says_nothing_allows_all(text: str) -> None:
    assert parse_robots(text, agent="destaquesgovbr") == ALLOW_ALL


def test_paths_are_compared_encoded() -> None:
    assert not allows("user-agent: *\ndisallow: /notícias", "/not%C3%ADcias/1")


@given(st.text("/ab*", min_size=1, max_size=8), st.booleans(), st.text("/ab", max_size=10))
def test_patterns_match_as_the_same_regular_expression(rule: str, ends: bool, path: str) -> None:
    pattern = "".join(".*" if sign == "*" else re.escape(sign) for sign in rule) + ("$" if ends else "")
    expected = re.match(pattern, f"/{path}") is None
    assert allows(f"user-agent: *\ndisallow: {rule}{'$' if ends else ''}", f"/{path}") is expected


def test_a_rule_of_many_stars_costs_little() -> None:
    started = time.perf_counter()
    assert allows("user-agent: *\ndisallow: /" + "a*" * 900 + "b", "/" + "a" * 50_000)
    assert time.perf_counter() - started < 1
