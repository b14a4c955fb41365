"""Pages that a site sends in place of what was asked: challenges, refusals of a firewall, login forms, works, errors.

Looked for only on pages that hold nothing of what they should: the scripts of a challenge service, a login link or the
word "manutenção" stand on good pages too.
"""

from __future__ import annotations

import re

from data_platform.jobs.scraper.markup import first_text, parse_page, tidy
from data_platform.jobs.scraper.problems import AntiBotError, EmptyContentError

__all__ = ["is_volto_page", "raise_if_refused"]

#: FIELD_FACTS §3.5. A script that measures visitors (`scripts/jsd`) is put into good pages too.
_CHALLENGE = re.compile(
    r"challenge-platform(?!/(?:h/\w/)?scripts/jsd)|cf-browser-verification|jschl_vc|jschl_answer|\bray_id\b|_cf_chl",
    re.IGNORECASE,
)
_CHALLENGE_WORDS = re.compile(r"checking your browser|just a moment", re.IGNORECASE)
#: What firewalls for web sites say, with a status of 200: F5, Imperva, Cloudflare, Azure, Fortinet, Sucuri, Akamai.
_BLOCKED = re.compile(
    r"request rejected|requested url was rejected|\bincapsula\b|you have been blocked|sucuri website firewall"
    r"|(?:request is|web page|request) blocked|access denied|acesso (?:negado|bloqueado)"
    r"|(?:requisição|solicitação|url solicitada) (?:foi )?(?:rejeitada|bloqueada|negada)",
    re.IGNORECASE,
)
_LOGIN = "form#login_form, form#login-form, input[type='password'], body[class*='template-login']"
_LOGIN_TITLE = re.compile(r"acesse sua conta|fazer login|entrar com gov\.?br|\blog ?in\b", re.IGNORECASE)
_WORKS = re.compile(
    r"em manutenção|manutenção programada|temporariamente indispon|serviço indispon|service unavailable"
    r"|under maintenance|página em construção",
    re.IGNORECASE,
)
_BROKEN = re.compile(
    r"(?:ocorreu|houve) um erro|encontrou um (?:erro|problema)|erro interno|internal server error|bad gateway"
    r"|gateway time-?out|seems to be an error|an error (?:has )?occurred",
    re.IGNORECASE,
)
_VOLTO = re.compile(r"<meta[^>]{0,80}\bgenerator\b[^>]{0,40}Plone 6|window\.__data\s*=|/\+\+api\+\+", re.IGNORECASE)
_LONGEST_NOTICE = 3000


def raise_if_refused(html: str, url: str) -> None:
    """Say what came in place of the page, if it is one of those known.

    Args:
        html: a page on which nothing was found.
        url: its address, for the message.

    Raises:
        AntiBotError: a challenge for browsers, or a firewall's refusal.
        EmptyContentError: a login form, a notice of works on the site or of an error, or nothing at all.
    """
    if not html.strip():
        raise EmptyContentError(f"the answer from {url} is empty", hint="it is asked again later")
    page = parse_page(html)
    title = first_text(page, "title", "h1") or ""
    body = page.body
    words = tidy(body.text(separator=" ")) if body is not None else ""
    notice = f"{title} {words}" if len(words) <= _LONGEST_NOTICE else title
    if _CHALLENGE.search(html) or _CHALLENGE_WORDS.search(notice):
        raise AntiBotError(
            f"{url} answered with a challenge for browsers", hint="ask less often, and from an address inside Brazil"
        )
    if _BLOCKED.search(notice):
        raise AntiBotError(
            f"{url} answered with a firewall's refusal", hint="ask less often, and from an address inside Brazil"
        )
    if page.css_first(_LOGIN) or _LOGIN_TITLE.search(title):
        raise EmptyContentError(
            f"{url} leads to a login form", hint="the page may have been withdrawn; it is asked again later"
        )
    if _WORKS.search(notice):
        raise EmptyContentError(f"{url} says that the site is being worked on", hint="it is asked again later")
    if _BROKEN.search(notice):
        raise EmptyContentError(f"{url} says that an error occurred", hint="it is asked again later")


def is_volto_page(html: str) -> bool:
    """Whether a page is one of Plone 6's: its listings have no items in their HTML, ask the interface (`volto`)."""
    return _VOLTO.search(html) is not None
