"""A small tree of themes, rows that lack a theme, and Cogfy's stand-in with a collection for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from data_platform.jobs.enrichment.codes import ThemeCodes
from data_platform.jobs.enrichment.cogfy import CogfyEnricher
from data_platform.jobs.enrichment.cogfy_client import CogfyClient
from data_platform.jobs.enrichment.paging import PAGE_SIZES
from data_platform.managers.hub.session import Backoff
from data_platform.models.themes import Theme, ThemeTree
from data_platform.settings import Settings
from dev.cogfy_server import Answer, CogfyServer, CogfyStore, Collection
from tests.support.rows import article

__all__ = ["ANSWER", "CODES", "DAY", "KEY", "NAME", "QUICK", "TREE", "Cogfy", "cogfy", "row", "rows"]

KEY, NAME = "a-key-of-cogfy", "noticias-all"
#: Noon of a São Paulo day.
DAY = datetime(2026, 2, 10, 15, tzinfo=UTC)
#: Tries as many as in earnest, without the waiting.
QUICK = Backoff(tries=4, first_s=0.001, most_s=0.002, total_s=30)

#: Labels that stand under two codes, a level without children, and a first level alone.
TREE = ThemeTree(
    Theme(code, label, code.count(".") + 1, code.rpartition(".")[0] or None)
    for code, label in {
        "01": "Economia e Finanças",
        "01.01": "Política Econômica",
        "01.01.01": "Política Fiscal",
        "01.01.02": "Autonomia Econômica",
        "01.02": "Fiscalização e Tributação",
        "01.02.01": "Combate à Evasão Fiscal",
        "02": "Educação",
        "02.03": "Ensino Profissional",
        "02.03.02": "Capacitação Profissional",
        "09": "Esportes e Lazer",
        "09.05": "Integridade Esportiva",
        "09.05.02": "Antidoping e Controle de Substâncias",
        "11": "Indústria e Comércio",
        "11.01": "Indústria Nacional",
        "11.01.03": "Capacitação Profissional",
        "18": "Comunicações e Mídia",
        "18.03": "Comunicação Digital",
        "18.03.05": "Comunicação Digital",
        "22": "Eventos Oficiais e Cerimônias",
    }.items()
)
CODES = ThemeCodes(TREE)
FIRST_LEVELS = [theme.full_name for theme in CODES.first_levels]
ANSWER = Answer(
    level_1="01 - Economia e Finanças",
    level_2="01.01 - Política Econômica",
    level_3="01.01.02 - Autonomia Econômica",
    summary="O governo publicou um resumo.",
)


def row(unique_id: str, *, days: int = 0, **cells: Any) -> dict[str, Any]:
    """Return a row that lacks theme and summary, published so many days after `DAY`."""
    known: dict[str, Any] = {
        "published_at": DAY + timedelta(days=days),
        "title": f"Notícia {unique_id}",
        "content": "O texto da notícia tem uma frase inteira. E tem mais uma frase ainda.",
        "tags": ["um", "dois"],
        "url": f"https://www.gov.br/mec/pt-br/noticias/{unique_id}",
    }
    return article(unique_id, **known | cells)


def rows(count: int, **cells: Any) -> list[dict[str, Any]]:
    """Return rows of one day, a second apart."""
    return [row(f"r{n:04}", **{"published_at": DAY + timedelta(seconds=n), **cells}) for n in range(count)]


class Cogfy:
    """Cogfy's stand-in with one collection.

    Attributes:
        store: what it holds.
        server: serves it.
        collection: the collection.
        answers: unique_id -> what the models write; `ANSWER` for all others.
    """

    def __init__(self, store: CogfyStore, server: CogfyServer, collection: Collection) -> None:
        self.store = store
        self.server = server
        self.collection = collection
        self.answers: dict[str, Answer] = {}

    @property
    def settings(self) -> Settings:
        """Settings of somebody who may use it."""
        return Settings(cogfy_server_url=self.server.url, cogfy_api_key=KEY, cogfy_collection_name=NAME)

    def enricher(
        self, settings: Settings | None = None, *, backoff: Backoff = QUICK, sizes: Sequence[int] = PAGE_SIZES
    ) -> CogfyEnricher:
        """Return an enricher, as a process of its own would make one."""
        chosen = settings or self.settings
        client = CogfyClient(chosen, backoff=backoff, page_sizes=sizes)
        return CogfyEnricher(
            client, CODES, collection_name=chosen.cogfy_collection_name, collection_id=chosen.cogfy_collection_id
        )

    def uploaded(self) -> list[str]:
        """Return the unique_ids of all records, in the order in which they came."""
        return [record["unique_id"] for record in self.collection.uploaded()]

    def put(self, row: Mapping[str, Any], **more: str) -> None:
        """Make a record as somebody else would have, of unique_id and published_at."""
        values = {"unique_id": row["unique_id"], "published_at": row["published_at"], **more}
        properties = {}
        for name, value in values.items():
            made = self.collection.field_named(name)
            text = value if isinstance(value, str) else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            properties[made["id"]] = {"type": made["type"], made["type"]: {"value": text}}
        self.store.create_record(self.collection, properties)


@contextmanager
def cogfy(types: Mapping[str, str] | None = None) -> Iterator[Cogfy]:
    """Serve a collection with the fields that the models fill and those by which rows are found."""
    answers: dict[str, Answer] = {}
    store = CogfyStore(lambda texts: answers.get(texts["unique_id"], ANSWER))
    kinds = {"unique_id": "text", "published_at": "date"} | dict(types or {})
    collection = store.create_collection(NAME, options=FIRST_LEVELS, types=kinds)
    with CogfyServer(store, keys=[KEY]) as server:
        made = Cogfy(store, server, collection)
        made.answers = answers
        yield made
