"""What an answer means, by its status, its headers and where it leads."""

from __future__ import annotations

import pytest

from data_platform.jobs.scraper.answers import RateLimitedError, is_gone, raise_for_status, redirect_of
from data_platform.jobs.scraper.problems import EmptyContentError

URL = "https://www.gov.br/aeb/pt-br/noticias/a"


@pytest.mark.parametrize(
    "location",
    [
        "https://sso.acesso.gov.br/login?client_id=x",
        "https://contas.acesso.gov.br/",
        "/aeb/acl_users/credentials_cookie_auth/require_login?came_from=/aeb",
        "/aeb/login",
        "/aeb/login_form?x=1",
        "/aeb/pt-br?came_from=https%3A//www.gov.br/aeb",
        "/manutencao",
        "/pagina-em-manutencao/",
        "/manutencao.html",
        "/indisponivel?site=aeb",
    ],
)
def test_logins_and_maintenance_are_not_followed(location: str) -> None:
    with pytest.raises(EmptyContentError, match="leads to a"):
        redirect_of(URL, 302, {"location": location})


@pytest.mark.parametrize(
    "location", ["/aeb/noticias/manutencao-na-br-101", "/aeb/noticias/novo-login-unico", "/aeb/logins", "b", "?x=1"]
)
def test_other_redirects_are(location: str) -> None:
    assert (redirect_of(URL, 301, {"location": location}) or "").startswith("https://www.gov.br/aeb/")


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("-3", 0.0), ("", 0.0), ("soon", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
)
def test_the_pause_asked_for_is_read(value: str, seconds: float) -> None:
    with pytest.raises(RateLimitedError) as caught:
        raise_for_status(URL, 503, {"retry-after": value}, "")
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    ("answered", "gone"),
    [
        ("https://www.gov.br/aeb/pt-br/noticias", True),
        ("https://www.gov.br/aeb/pt-br/", True),
        ("https://www.gov.br/", True),
        (URL, False),
        (f"{URL}/", False),
        ("https://www.gov.br/aeb/pt-br/noticia", False),
        ("https://www.gov.br/aeb/pt-br/arquivo/a", False),
        ("https://tvbrasil.ebc.com.br/", False),
    ],
)
def test_a_redirect_up_the_path_means_that_the_page_is_gone(answered: str, gone: bool) -> None:
    assert is_gone(f"{URL}/view", answered) is gone
