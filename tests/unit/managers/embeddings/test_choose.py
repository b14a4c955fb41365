"""Which embedder the settings say, and that approximate vectors stay on this machine unless told otherwise."""

from __future__ import annotations

import pytest

from data_platform.errors import ConfigurationError
from data_platform.managers.embeddings.choose import choose_embedder, require_publishable_vectors
from data_platform.managers.embeddings.generate import GenerateEmbedder
from data_platform.managers.embeddings.hashing import HashingEmbedder
from data_platform.managers.embeddings.openai_api import OpenAiEmbedder
from data_platform.settings import Settings

SERVICE = {"EMBEDDINGS_API_URL": "https://e.example/\n", "EMBEDDINGS_MODEL": "m", "EMBEDDINGS_DIMENSION": "1024"}


def settings(**environment: str) -> Settings:
    return Settings.from_environment(environment)


def test_each_variable_has_its_place() -> None:
    names = ("QDRANT_URL", "QDRANT_API_KEY", "QDRANT_COLLECTION", "EMBEDDINGS_API_KEY", "EMBEDDINGS_API_KIND")
    found = settings(**SERVICE, **{name: name.lower() + "\n" for name in names})
    for name in names:
        assert getattr(found, name.lower()) == name.lower()
    assert (found.embeddings_api_url, found.embeddings_model) == ("https://e.example/", "m")
    assert found.embeddings_dimension == 1024
    assert not found.embeddings_publish_approximate
    nothing = settings()
    assert (nothing.qdrant_url, nothing.qdrant_collection, nothing.embeddings_dimension) == ("", "news", 768)


def test_without_a_service_words_are_hashed() -> None:
    found = choose_embedder(settings(EMBEDDINGS_DIMENSION="64"))
    assert isinstance(found, HashingEmbedder)
    assert found.dimension == 64
    assert isinstance(choose_embedder(settings(**SERVICE, EMBEDDINGS_API_KIND="hashing")), HashingEmbedder)


@pytest.mark.parametrize(("kind", "wanted"), [("openai", OpenAiEmbedder), ("GENERATE", GenerateEmbedder)])
def test_a_service_is_chosen_by_its_kind(kind: str, wanted: type) -> None:
    found = choose_embedder(settings(**SERVICE, EMBEDDINGS_API_KIND=kind))
    assert type(found) is wanted
    assert (found.model, found.dimension, found.approximate) == ("m", 1024, False)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"EMBEDDINGS_API_KIND": "bert"}, "EMBEDDINGS_API_KIND"),
        ({"EMBEDDINGS_API_URL": "https://e.example"}, "EMBEDDINGS_API_KIND"),
        ({"EMBEDDINGS_API_KIND": "openai", "EMBEDDINGS_MODEL": "m"}, "EMBEDDINGS_API_URL"),
        ({"EMBEDDINGS_API_KIND": "generate", "EMBEDDINGS_API_URL": "https://e.example"}, "EMBEDDINGS_MODEL"),
        ({**SERVICE, "EMBEDDINGS_API_KIND": "openai", "EMBEDDINGS_API_KEY": "chave é"}, "EMBEDDINGS_API_KEY"),
        ({**SERVICE, "EMBEDDINGS_API_KIND": "openai", "EMBEDDINGS_DIMENSION": "0"}, "EMBEDDINGS_DIMENSION"),
        ({"EMBEDDINGS_DIMENSION": "7.5"}, "EMBEDDINGS_DIMENSION"),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        choose_embedder(settings(**environment))
    assert "chave" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:6333", "http://localhost:6333", "http://[::1]:6333"])
def test_approximate_vectors_may_be_written_on_this_machine(url: str) -> None:
    require_publishable_vectors(settings(QDRANT_URL=url), HashingEmbedder(8))


@pytest.mark.parametrize("url", ["https://q.example:6333", "http://qdrant:6333", "http://10.0.0.5:6333", ""])
def test_elsewhere_they_are_refused_unless_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="EMBEDDINGS_PUBLISH_APPROXIMATE"):
        require_publishable_vectors(settings(QDRANT_URL=url), HashingEmbedder(8))
    told = settings(QDRANT_URL=url, EMBEDDINGS_PUBLISH_APPROXIMATE="true")
    require_publishable_vectors(told, HashingEmbedder(8))
    service = choose_embedder(settings(**SERVICE, EMBEDDINGS_API_KIND="openai"))
    require_publishable_vectors(settings(QDRANT_URL=url), service)
