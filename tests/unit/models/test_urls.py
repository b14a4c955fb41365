"""The canonical address: each rule of DESIGN §2.8 by itself, then what must hold for any text at all."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_platform.models.urls import LONGEST_CANONICAL, canonical_url, canonical_urls

PAGE = "https://www.gov.br/mec/pt-br/assuntos/noticias/2024/uma-noticia"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        pytest.param(PAGE, PAGE, id="canonical already"),
        pytest.param(PAGE.replace("https", "http"), PAGE, id="https"),
        pytest.param(PAGE.replace("https://www.gov.br", "HTTPS://WWW.Gov.BR"), PAGE, id="lower-case host"),
        pytest.param("https://WWW.gov.br/a", "https://www.gov.br/a", id="lower-case host, part by part"),
        pytest.param(PAGE.replace("mec", "MEC"), PAGE.replace("mec", "MEC"), id="the path keeps its case"),
        pytest.param(f" \n{PAGE}\t ", PAGE, id="white space around"),
        pytest.param(f"{PAGE}#secao", PAGE, id="no fragment"),
        pytest.param(f"{PAGE}?utm_source=x&utm_medium=y", PAGE, id="no tracking parameters"),
        pytest.param(f"{PAGE}?UTM_Source=x&fbclid=1&gclid=2&origem=capa", PAGE, id="tracking in any case"),
        pytest.param(f"{PAGE}?utm%5Fsource=x", PAGE, id="tracking in disguise"),
        pytest.param(f"{PAGE}?id=7&utm_source=x&b=2", f"{PAGE}?id=7&b=2", id="other parameters stay in their order"),
        pytest.param(f"{PAGE}?a=utm_source", f"{PAGE}?a=utm_source", id="a value is no name"),
        pytest.param(f"{PAGE}?xutm_a=1&utmost=2", f"{PAGE}?xutm_a=1&utmost=2", id="names only look alike"),
        pytest.param(f"{PAGE}?", PAGE, id="empty query"),
        pytest.param(f"{PAGE}?&&a=1&", f"{PAGE}?a=1", id="empty parameters"),
        pytest.param(PAGE.replace("gov.br/", "gov.br/++api++/"), PAGE, id="no ++api++"),
        pytest.param(f"{PAGE}/++api++", PAGE, id="no ++api++ at the end"),
        pytest.param(f"{PAGE}/++api++x", f"{PAGE}/++api++x", id="++api++ is a whole segment"),
        pytest.param(f"{PAGE}/", PAGE, id="no trailing slash"),
        pytest.param(f"{PAGE}///", PAGE, id="no trailing slashes"),
        pytest.param(f"{PAGE}/view", PAGE, id="no view"),
        pytest.param(f"{PAGE}/view/", PAGE, id="no view and slash"),
        pytest.param(f"{PAGE}/view?x=1#y", f"{PAGE}?x=1", id="no view before a query"),
        pytest.param(f"{PAGE}/preview", f"{PAGE}/preview", id="view is a whole segment"),
        pytest.param(f"{PAGE}/view/mais", f"{PAGE}/view/mais", id="view inside stays"),
        pytest.param("https://www.gov.br/", "https://www.gov.br", id="home page"),
        pytest.param("http://www.gov.br:80/a", "https://www.gov.br/a", id="default port of http"),
        pytest.param("https://www.gov.br:443/a", "https://www.gov.br/a", id="default port of https"),
        pytest.param("http://www.gov.br:443/a", "https://www.gov.br/a", id="default port of what it becomes"),
        pytest.param("https://www.gov.br:/a", "https://www.gov.br/a", id="empty port"),
        pytest.param("https://www.gov.br:8443/a", "https://www.gov.br:8443/a", id="other port"),
        pytest.param("https://eu:senha@www.gov.br/a", "https://www.gov.br/a", id="no user"),
        pytest.param("https://x.br/%7Ejo%c3%a3o", "https://x.br/~jo%C3%A3o", id="percent-encoding normalised"),
        pytest.param("https://x.br/joão um", "https://x.br/jo%C3%A3o%20um", id="percent-encoding added"),
        pytest.param(
            "https://x.br/a%20b?q=c%2fd%zz", "https://x.br/a%20b?q=c%2Fd%25zz", id="reserved ones stay encoded"
        ),
        pytest.param("https://x.br/%76iew", "https://x.br", id="encoding hides nothing"),
        pytest.param("https://AGÊNCIA.gov.br/a", "https://agência.gov.br/a", id="international host"),
        pytest.param("https://[2001:DB8::1]/a", "https://[2001:db8::1]/a", id="IPv6"),
        pytest.param("https://[::1]:8080/a", "https://[::1]:8080/a", id="IPv6 with port"),
        pytest.param("https://www.gov.br #x", "https://www.gov.br", id="white space behind the host"),
        pytest.param(
            "https://www.gov.br/a//b", "https://www.gov.br/a//b", id="a double slash inside may mean something"
        ),
    ],
)
def test_rules(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical
    assert canonical_url(canonical) == canonical
    assert canonical_urls(pa.array([url, PAGE, canonical])).to_pylist() == [canonical, PAGE, canonical]


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "   ",
        "No URL",
        "www.gov.br/mec",
        "/mec/noticia",
        "//www.gov.br/mec",
        "ftp://www.gov.br/a",
        "mailto:a@gov.br",
        "javascript:void(0)",
        "resolveuid/0123abcd",
        "https://",
        "https:///a",
        "https://:80/a",
        "https://www.gov.br:porta/a",
        "https://www.gov.br:99999/a",
        "https://[::1/a",
        "https://[nada]/a",
        "https://[::1]x@]/a",
        "https://[::1]x@[:80:8080/a",
    ],
)
def test_what_is_no_web_address_has_no_canonical_form(url: str | None) -> None:
    assert canonical_url(url) is None
    assert canonical_urls(pa.array([PAGE, url], pa.string())).to_pylist() == [PAGE, None]


def test_an_address_that_no_index_could_hold_has_no_canonical_form() -> None:
    longest = "https://x.br/" + "a" * (LONGEST_CANONICAL - len("https://x.br/"))
    assert canonical_url(longest) == longest
    assert canonical_url(f"{longest}a") is None
    assert canonical_url(f"{longest}?utm_source=x") == longest
    assert canonical_urls(pa.array([longest, f"{longest}a"])).to_pylist() == [longest, None]


def test_different_articles_keep_different_addresses() -> None:
    urls = [PAGE, f"{PAGE}-2", f"{PAGE}?id=1", f"{PAGE}?id=2", PAGE.upper(), f"{PAGE}/a%2Fb", f"{PAGE}/a/b"]
    canonical = [canonical_url(url) for url in urls]
    assert len(set(canonical)) == len(urls)


_schemes = st.sampled_from(["https://", "http://", "HTTPS://", "https:/", "ftp://", "//", "", " https://", "https://"])
_users = st.sampled_from(["", "", "", "eu@", "eu:senha@", "a@b@", ":@"])
_plain_hosts = st.sampled_from(
    ["www.gov.br", "WWW.GOV.BR", "www.gov.br.", "agência.gov.br", "xn--agncia-0va.gov.br", "x"]
)
_odd_hosts = st.sampled_from(
    ["[::1]", "[FE80::1%25eth0]", "a b", "x ", "\u00a0x", "g%41.br", "", "İ.br", "-", "a_b", "x\\y"]
)
_ports = st.sampled_from(["", "", "", ":80", ":443", ":0443", ":8080", ":", ":0", ":x", ":70000", ":1:2"])
_plone = st.sampled_from(["view", "VIEW", "v%69ew", "++api++", "%2B%2Bapi%2B%2B", "++api++x", "@@images", "noticia-1"])
_encoded = st.sampled_from(["a%20b", "a b", "a+b", "ç", "%C3%A7", "%c3%a7", "%7E", "~", "%", "%4", "%zz", "%00", "\t"])
_segments = _plone | _encoded | st.sampled_from(["", ".", "..", "a;b", "a:b", "[x]", "a|b", "{}", '"', "a\\b"])
_tracking = st.sampled_from(
    ["utm_source=x", "UTM_x", "utm_ç=1", "utm%5Fa=1", "u%74m_b", "utm_a%0A", "fbclid=", "origem=1"]
)
_others = st.sampled_from(
    ["", "a=1", "b=%2f", "c=é", "=", "a=b=c", "?", "q=a b", "%", "origem%20=1", "amp;utm_source=x"]
)
_tails = st.sampled_from(["", "", "/", "//", "/view", "/view/", "?", "#", "#x?y", " ", "\n", "/ ", "\u3000", "\x1f"])


@st.composite
def addresses(draw: st.DrawFn) -> str:
    path = "".join(f"/{segment}" for segment in draw(st.lists(_segments, max_size=5)))
    query = "&".join(draw(st.lists(_tracking | _others, max_size=4)))
    return "".join(
        [
            draw(_schemes),
            draw(_users),
            draw(_plain_hosts | _odd_hosts),
            draw(_ports),
            path,
            f"?{query}" if query else "",
            draw(_tails),
        ]
    )


_any_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
_urls = addresses() | _any_text | _any_text.map("https://x.br/{}".format) | _any_text.map("https://{}".format)


@settings(max_examples=150)
@given(_urls)
@example("http://x.br:443")
@example("https://[::1]")
@example("https://x ?utm_a=1")
@example("https://x.br?utm%5Fa")
def test_doing_it_twice_changes_nothing(url: str) -> None:
    once = canonical_url(url)
    assert once is None or canonical_url(once) == once


@settings(max_examples=80)
@given(_urls)
def test_a_canonical_form_obeys_every_rule(url: str) -> None:
    canonical = canonical_url(url)
    if canonical is None:
        return
    assert canonical.startswith("https://")
    rest = canonical.removeprefix("https://")
    host = rest.split("/")[0].split("?")[0]
    path, _, query = rest.removeprefix(host).partition("?")
    assert "@" not in host
    assert not host.endswith(":443")
    assert not path.endswith(("/", "/view"))
    assert "++api++" not in path.split("/")
    assert (path + query).isascii()
    assert "#" not in canonical
    assert not any(parameter.lower().startswith(("utm_", "fbclid=")) for parameter in query.split("&"))
    assert not any(character.isspace() for character in canonical[-1:])


@settings(max_examples=80)
@given(st.lists(_urls | st.none() | st.just(PAGE), max_size=6), st.integers(0, 3))
def test_arrays_are_treated_as_their_values(urls: list[str | None], skip: int) -> None:
    array = pa.array(urls, pa.string())
    expected = [canonical_url(url) for url in urls]
    assert canonical_urls(array).to_pylist() == expected
    assert canonical_urls(array.slice(skip)).to_pylist() == expected[skip:]
    assert canonical_urls(array).type == pa.string()


#: Texts over few characters meet the shortcut for addresses that are canonical already, and its borders.
@settings(max_examples=150)
@given(st.text("htps:/vie.w-a_~+%@?#[A\n", max_size=14).map("https://x.br/{}".format))
def test_the_shortcut_agrees_with_the_long_way(url: str) -> None:
    assert canonical_urls(pa.array([url])).to_pylist() == [canonical_url(url)]


def test_no_addresses_at_all() -> None:
    assert canonical_urls(pa.array([], pa.string())).to_pylist() == []
    assert canonical_urls(pa.nulls(3, pa.string())).to_pylist() == [None, None, None]
