"""Pages of any size and depth: bounded memory and time, and no text lost (DESIGN §2.12)."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from data_platform.jobs.scraper.blocks import blocks_html
from data_platform.jobs.scraper.bounds import shallow, thinned
from data_platform.jobs.scraper.classic import parse_article
from data_platform.jobs.scraper.cleaning import Surroundings
from data_platform.jobs.scraper.markdown import PLAIN_TEXT, read_body
from data_platform.jobs.scraper.markup import parse_page
from data_platform.jobs.scraper.records import Listed

URL = "https://www.gov.br/mec/pt-br/noticias/uma"
PARAGRAPH = "<p>Uma frase qualquer com <a href='/x'>link</a> e <b>mais</b>.</p>"
ROW = "<tr>" + "<td>um</td>" * 10 + "</tr>"

#: Reads a page of so many bytes; prints how many MB that took above what the process had, and what came out.
PEAK = """
import resource, sys, time
from data_platform.jobs.scraper.classic import parse_article
from data_platform.jobs.scraper.records import Listed

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

url, before, unit, after, size = *sys.argv[1:5], int(sys.argv[5])
body = "<p>No início</p>" + before + unit * (size // len(unit)) + after + "<p>No fim</p>"
html = f"<h1>T</h1><div id='content'>{body}</div>"
parse_article("<div id='content'>" + "<p>palavra</p>" * 20 + "</div>", url, Listed(url=url, title="T"))
base, began = peak(), time.process_time()
content = parse_article(html, url, Listed(url=url, title="T")).content or ""
print(peak() - base, time.process_time() - began, content.startswith("No início"), content.endswith("No fim"))
"""


def peak_of_reading(before: str, unit: str, after: str, size: int) -> tuple[float, float, list[str]]:
    """Return (MB, seconds, whether beginning and end are there) of reading a page in a process of its own."""
    arguments = [sys.executable, "-c", PEAK, URL, before, unit, after, str(size)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    megabytes, seconds, *whole = done.stdout.split()
    return float(megabytes), float(seconds), whole


def page(body: str) -> str:
    return f"<h1>T</h1><div id='content'><p>{'palavra ' * 20}</p>{body}</div>"


def read(body: str) -> tuple[str, tuple[str, ...]]:
    article = parse_article(page(body), URL, Listed(url=URL, title="T"))
    return article.content or "", article.notes


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [("", PARAGRAPH, ""), ("<table>", ROW, "</table>")],
    ids=["paragraphs", "table"],
)
def test_the_largest_page_that_is_fetched_takes_bounded_memory_and_time(before: str, unit: str, after: str) -> None:
    """They took 880 and 1,190 MB, 45 and 55 s."""
    megabytes, seconds, whole = peak_of_reading(before, unit, after, 7_900_000)
    assert whole == ["True", "True"]
    assert megabytes < 200
    assert seconds < 15  # 2 s where nothing else runs


@pytest.mark.parametrize("unit", ["<div>", "<section>a</p>", "<b><p>", "<ul><li>", "<div><table><td></div>", " "])
def test_depth_takes_no_square_of_time_and_loses_no_text(unit: str) -> None:
    """200,000 levels were given up after 300 s."""
    began = time.process_time()
    content, _ = read(unit * 20_000 + "<p>No fundo</p>")
    assert time.process_time() - began < 10  # under 1 s where nothing else runs
    assert content.startswith("palavra palavra")
    assert "No fundo" in content


def test_bodies_up_to_a_megabyte_are_markdown() -> None:
    content, notes = read(f"{PARAGRAPH}<p>{'palavra ' * 60}</p>" * 2000)  # 1.1 MB
    assert notes == ()
    assert content.count("Uma frase qualquer com [link](https://www.gov.br/x) e **mais**.") == 2000


def test_a_larger_body_becomes_paragraphs_of_plain_text_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    odd = "<table><tr><td>um_a</td><td>dois</td></tr><tr><td>três</td></tr></table>solto<br>linha<!-- x --><p>Tags:</p>"
    content, notes = read(PARAGRAPH * 18_000 + odd + "<script>x()</script>")
    assert notes == (PLAIN_TEXT,)
    assert content.count("\n\nUma frase qualquer com link e mais.") == 18_000
    assert content.endswith(".\n\num\\_a dois\n\ntrês\n\nsolto\n\nlinha")
    assert URL in caplog.text


def test_a_larger_body_keeps_its_cover_and_not_what_has_a_column_of_its_own() -> None:
    html = "<h1>O título</h1><img src='/f.jpg'><p>A linha</p>" + PARAGRAPH * 20_000
    found = read_body(html, Surroundings(URL, title="O título", subtitle="A linha"))
    assert found.cover == "https://www.gov.br/f.jpg"
    assert (found.content or "").startswith("Uma frase")


def test_a_long_numbered_list_keeps_its_numbers_and_takes_no_square_of_time() -> None:
    """The converter counts the items before each item: 8,000 of them took half a minute."""
    content, notes = read("<ol start='3'>" + "<li>nome</li>" * 8000 + "</ol><ol><li>a<ol><li>b</li></ol></li></ol>")
    assert notes == ()
    assert "\n3. nome\n4. nome\n" in content
    assert "\n8002. nome\n" in content
    assert content.endswith("\n1. a\n   1. b")


@pytest.mark.parametrize(
    "html",
    [
        page(PARAGRAPH * 400),
        page("<p>um<p>dois<b>três</b>" * 400),
        page("<ul><li>um<p>dois<li>três</ul><dl><dt>a<dd>b</dl>" * 300),
        page("<table><tr><td>um<td><b>dois</b><tr><th>x</table>" * 200),
        page("<a name='x'>um" * 1000),
        page("<p>a</div></b>" * 600),
        page("<script>'<div><div>'</script><!-- <div> -->" * 300),
    ],
    ids=["closed", "paragraphs", "lists", "tables", "anchors", "stray ends", "scripts"],
)
def test_pages_that_are_not_deep_are_not_touched(html: str) -> None:
    markup = html.encode()
    assert shallow(markup, 60) is markup


def test_what_is_taken_out_for_its_depth_leaves_the_rest_as_it_was() -> None:
    markup = b"<div><i><p>a</p>b<b>c</b></i></div><p>d<br></p>"
    assert shallow(markup, 2) == b"<div><i> a bc</i></div><p>d<br></p>"


def test_a_page_with_too_many_elements_keeps_those_that_its_parts_are_found_by() -> None:
    markup = b"<td class=x>a</td><b>b</b><script>x</script>" + b"<p>c</p>" * 250_000 + b"<div id=content><p>d</p></div>"
    found = parse_page(thinned(markup).decode())
    assert 99_990 < len(found.css("p")) < 100_010
    assert len(found.css("td, b")) == 0
    content = found.css_first("#content")
    assert content is not None
    assert content.text().split() == ["d"]
    assert (found.body.text() if found.body else "").count("c") == 250_000


def test_what_lies_too_deep_in_blocks_keeps_its_text() -> None:
    leaf: dict[str, Any] = {"text": "no fundo"}
    for _ in range(400):
        leaf = {"type": "span", "children": [leaf, {"text": "<"}]}
    block: dict[str, Any] = {"@type": "slate", "value": [leaf]}
    for number in range(400):
        after = {"@type": "slate", "value": [{"type": "p", "children": [{"text": f"depois {number}"}]}]}
        block = {"@type": "group", "blocks": {"b": after, "a": block}, "blocks_layout": {"items": ["a", "b"]}}
    notes: list[str] = []
    html = blocks_html({"blocks": [block]}, notes)
    assert notes == ["blocks_too_deep"]
    assert f"no fundo{'&lt;' * 400}" in html
    assert [html.index(f">depois {number}<") for number in range(400)] == sorted(
        html.index(f">depois {number}<") for number in range(400)
    )


def test_an_address_without_end_is_none() -> None:
    deep: Any = "https://www.gov.br/f.jpg"
    for _ in range(900):
        deep = [deep]
    assert blocks_html({"blocks": [{"@type": "image", "url": deep}]}, []) == ""
