"""Enriching through an OpenAI-compatible endpoint, over HTTP to a small one that answers as models do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from data_platform.errors import ConfigurationError
from data_platform.jobs.enrichment.chat import ChatEnricher, ChatLimits
from data_platform.jobs.enrichment.problems import EnricherError, EnricherUnavailableError, RequestRefusedError
from data_platform.settings import Settings
from tests.support.enrichment import CODES, QUICK, TREE, row, rows

KEY = "sk-of-somebody"
#: What is asked -> text of the answer, or a status.
Say = Callable[[list[dict[str, Any]]], str | int]


class Model:
    """The endpoint, and what it was asked."""

    def __init__(self) -> None:
        self.say: Say = good
        self.path = "/v1/chat/completions"
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.usage: dict[str, int] | None = {"total_tokens": 1000}
        self.url = ""

    def titles(self) -> list[list[str]]:
        return [[one["title"] for one in told(question)] for question in self.asked]


def told(question: dict[str, Any]) -> list[dict[str, Any]]:
    articles: list[dict[str, Any]] = json.loads(question["messages"][-1]["content"])["articles"]
    return articles


def good(articles: list[dict[str, Any]]) -> str:
    items = [{"n": one["n"], "code": "01.01.02", "summary": f"Sobre {one['title']}."} for one in articles]
    return json.dumps({"articles": items}, ensure_ascii=False)


@pytest.fixture
def model() -> Iterator[Model]:
    made = Model()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append(body)
            made.keys.append(self.headers.get("Authorization"))
            said: str | int = made.say(told(body)) if self.path == made.path else 404
            status = said if isinstance(said, int) else 200
            answer: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": said}}]}
            if made.usage:
                answer["usage"] = made.usage
            content = json.dumps({"error": {"message": "no"}} if status != 200 else answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()


def enricher(model: Model, *, url: str = "", key: str = KEY, **limits: Any) -> ChatEnricher:
    settings = Settings(chat_api_url=url or f"{model.url}/v1/", chat_api_key=key, chat_model="a-model")
    return ChatEnricher(settings, CODES, limits=ChatLimits(**limits), backoff=QUICK)


def test_a_few_articles_go_with_each_question_and_the_tree_is_in_it(model: Model) -> None:
    done = enricher(model, articles=3).submit(rows(7))
    assert [len(titles) for titles in model.titles()] == [3, 3, 1]
    assert [(one.unique_id, one.theme_code, one.summary) for one in done.ready] == [
        (f"r{n:04}", "01.01.02", f"Sobre Notícia r{n:04}.") for n in range(7)
    ]
    assert (done.ready[0].enricher, done.ready[0].version, done.ready[0].approximate) == ("chat", "a-model", False)
    instructions = model.asked[0]["messages"][0]["content"]
    assert all(f"\n{theme.code} {theme.label}" in instructions for theme in TREE.by_code.values())
    assert model.asked[0]["model"] == "a-model"
    assert set(model.keys) == {f"Bearer {KEY}"}


@pytest.mark.parametrize("url", ["", "/v1", "/v1/", "/v1/chat/completions"])
def test_the_address_may_be_given_in_any_length(model: Model, url: str) -> None:
    assert enricher(model, url=model.url + url, key="").submit([row("a")]).ready
    assert model.keys == [None]


@pytest.mark.parametrize(
    "form",
    [
        "```json\n{}\n```",
        "Pensando em {{algo}} … pronto: {} É isso.",
        '<think>[1, 2] e {{"x": 1}}</think>\n{}',
    ],
)
def test_an_answer_is_found_in_what_models_write_around_it(model: Model, form: str) -> None:
    shown = form.replace("{}", "\x00").replace("{{", "{").replace("}}", "}")
    model.say = lambda articles: shown.replace("\x00", good(articles))
    assert len(enricher(model).submit(rows(2)).ready) == 2


def test_codes_of_a_model_count_only_if_the_tree_has_them(model: Model) -> None:
    """Fault 41: some codes were invented."""
    codes = {"a": "01.01.77", "b": "01.02 - Fiscalização e Tributação", "c": "99", "d": 1.01, "e": "Economia"}

    def say(articles: list[dict[str, Any]]) -> str:
        items = [{"n": one["n"], "code": codes[one["title"][-1]], "summary": "Resumo."} for one in articles]
        return json.dumps({"articles": items})

    model.say = say
    done = enricher(model).submit([row(uid) for uid in codes])
    assert {one.unique_id: (one.theme_code, one.notes) for one in done.ready} == {
        "a": ("01.01", ("level_3_unknown",)),
        "b": ("01.02", ()),
    }
    assert {(one.unique_id, one.reason) for one in done.failed} == {(uid, "no_valid_answer") for uid in "cde"}


def test_what_is_missing_from_an_answer_is_asked_for_again_with_fewer_articles(model: Model) -> None:
    def say(articles: list[dict[str, Any]]) -> str:
        if len(articles) > 2:
            return good(articles[:1])[:-4]  # cut off
        return good([one for one in articles if not one["title"].endswith("r0001")])

    model.say = say
    done = enricher(model, articles=4).submit(rows(4))
    assert sorted(one.unique_id for one in done.ready) == ["r0000", "r0002", "r0003"]
    assert [(one.unique_id, one.reason) for one in done.failed] == [("r0001", "no_valid_answer")]


def test_an_answer_cannot_speak_for_articles_that_were_not_asked(model: Model) -> None:
    model.say = lambda _: json.dumps(
        {"articles": [{"n": n, "code": "01", "summary": "x"} for n in (0, -1, 2, 99, "1", None)]}
    )
    done = enricher(model).submit([row("a")])
    assert done.ready == ()


def test_the_budget_ends_the_questions_and_the_rest_is_for_another_day(model: Model) -> None:
    model.usage = {"total_tokens": 3000}
    made = enricher(model, articles=1, budget_tokens=7000)
    done = made.submit(rows(10))
    assert 1 <= len(done.ready) <= 3
    assert len(done.pending) == 10 - len(done.ready)
    assert len(model.asked) == len(done.ready), "nothing is asked that may not fit"
    assert done.problems == ("the budget of tokens is used up: the rest is for another day",)
    assert made.collect(done.pending, final=True).pending == done.pending
    assert not made.waits
    model.usage = None
    assert len(enricher(model, articles=1, budget_tokens=7000).submit(rows(10)).pending) > 0, "and guessed if not told"


def test_errors_are_retried_by_their_type(model: Model) -> None:
    failing = iter([429, 503])
    model.say = lambda articles: next(failing, None) or good(articles)
    assert len(enricher(model).submit(rows(2)).ready) == 2

    for status, kind in ((401, ConfigurationError), (403, ConfigurationError), (404, EnricherError)):
        model.asked.clear()
        model.say = lambda _, s=status: s
        with pytest.raises(kind) as caught:
            enricher(model).submit(rows(2))
        assert KEY not in str(caught.value)
        assert len(model.asked) == 1, status

    model.say = lambda _: 500
    model.asked.clear()
    with pytest.raises(EnricherUnavailableError):
        enricher(model, articles=1).submit(rows(50))
    assert len(model.asked) == 3 * QUICK.tries, "not for ever"


def test_a_question_that_is_too_long_is_asked_in_halves_and_a_model_that_refuses_all_is_an_error(model: Model) -> None:
    model.say = lambda articles: 400 if len(articles) > 1 else good(articles)
    assert len(enricher(model, articles=4).submit(rows(4)).ready) == 4
    model.say = lambda _: 400
    with pytest.raises(RequestRefusedError):
        enricher(model, articles=4).submit(rows(40))


def test_a_model_that_falls_silent_costs_only_what_was_not_asked(model: Model) -> None:
    model.say = lambda articles: good(articles) if articles[0]["title"] < "Notícia r0003" else 502
    done = enricher(model, articles=1).submit(rows(10))
    assert len(done.ready) == 3
    assert len(done.failed) == 3
    assert len(done.pending) == 4
