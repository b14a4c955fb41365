"""Which enricher is chosen, and that approximate values stay on this machine."""

from __future__ import annotations

from typing import Any

import pytest

from data_platform.errors import ConfigurationError
from data_platform.jobs.enrichment.chat import ChatEnricher
from data_platform.jobs.enrichment.choose import choose_enricher, chosen_name, require_publishable
from data_platform.jobs.enrichment.cogfy import CogfyEnricher
from data_platform.jobs.enrichment.embedded import EmbeddedEnricher
from data_platform.managers.storage_mode import ReadSource
from data_platform.settings import Settings
from tests.support.enrichment import CODES

POSTGRES, HUGGINGFACE = ReadSource.POSTGRES, ReadSource.HUGGINGFACE
HERE = {"database_url": "postgresql://u:p@127.0.0.1:5432/d", "hf_endpoint": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, EmbeddedEnricher),
        ({"COGFY_API_KEY": "k\n", "COGFY_COLLECTION_NAME": " c "}, CogfyEnricher),
        ({"COGFY_API_KEY": "k", "COGFY_COLLECTION_ID": "c", "ENRICHER": "Embedded "}, EmbeddedEnricher),
        ({"ENRICHER": "chat", "CHAT_API_URL": "http://127.0.0.1:1/v1", "CHAT_MODEL": "m"}, ChatEnricher),
        ({"ENRICHER": "none", "COGFY_API_KEY": "k"}, type(None)),
    ],
)
def test_the_settings_choose(environment: dict[str, str], kind: type) -> None:
    assert type(choose_enricher(Settings.from_environment(environment), CODES)) is kind


def test_values_are_stripped() -> None:
    """Fault 59."""
    names = {
        "COGFY_API_KEY": "cogfy_api_key",
        "COGFY_SERVER_URL": "cogfy_server_url",
        "COGFY_COLLECTION_NAME": "cogfy_collection_name",
        "COGFY_COLLECTION_ID": "cogfy_collection_id",
        "CHAT_API_URL": "chat_api_url",
        "CHAT_API_KEY": "chat_api_key",
        "CHAT_MODEL": "chat_model",
        "ENRICHER": "enricher",
    }
    settings = Settings.from_environment({name: f" {name} \n" for name in names})
    assert {name: getattr(settings, attribute) for name, attribute in names.items()} == {name: name for name in names}
    assert Settings.from_environment({"ENRICH_PUBLISH_APPROXIMATE": " True\n"}).enrich_publish_approximate
    for word in ("", "0", "no", "maybe"):
        assert not Settings.from_environment({"ENRICH_PUBLISH_APPROXIMATE": word}).enrich_publish_approximate


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"ENRICHER": "gpt"}, "ENRICHER is 'gpt' .*cogfy, embedded, chat, none"),
        ({"ENRICHER": "cogfy"}, "no collection is named .*COGFY_COLLECTION_NAME"),
        ({"COGFY_API_KEY": "k"}, "no collection is named .*COGFY_COLLECTION_NAME"),
        ({"ENRICHER": "cogfy", "COGFY_COLLECTION_NAME": "c"}, "COGFY_API_KEY is not set"),
        ({"ENRICHER": "chat", "CHAT_MODEL": "m"}, "CHAT_API_URL is not set"),
        ({"ENRICHER": "chat", "CHAT_API_URL": "http://127.0.0.1:1"}, "CHAT_MODEL is not set"),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        choose_enricher(Settings.from_environment(environment), CODES)


def test_no_service_has_a_default_key_or_collection() -> None:
    """Fault 57: what is reached without being set is nothing that could be written to."""
    settings = Settings()
    secrets = (settings.cogfy_api_key, settings.cogfy_collection_name, settings.cogfy_collection_id)
    assert (*secrets, settings.chat_api_url, settings.chat_api_key) == ("",) * 5
    assert chosen_name(settings) == "embedded"


@pytest.mark.parametrize(
    ("changed", "sides", "named"),
    [
        ({}, {POSTGRES, HUGGINGFACE}, None),
        ({"database_url": "postgresql://u:segredo@10.0.0.3/d"}, {POSTGRES}, "the database on 10.0.0.3"),
        ({"database_url": "postgresql://u@10.0.0.3/d"}, {HUGGINGFACE}, None),
        ({"database_url": "postgresql://u@db.example/d?hostaddr=127.0.0.1"}, {POSTGRES}, "db.example"),
        ({"database_url": "postgresql://u@localhost/d?hostaddr=10.1.1.1"}, {POSTGRES}, "10.1.1.1"),
        ({"database_url": "postgresql://u@127.0.0.1,10.0.0.4/d"}, {POSTGRES}, "10.0.0.4"),
        ({"database_url": "postgresql://u@/d?host=%2Fcloudsql%2Fproject"}, {POSTGRES}, "/cloudsql/project"),
        ({"database_url": "postgresql://u@/d?host=%2Fvar%2Frun%2Fpostgresql"}, {POSTGRES}, None),
        ({"database_url": "postgresql://u@[::1]:5432/d"}, {POSTGRES}, None),
        ({"database_url": "postgresql:///d?service=prod"}, {POSTGRES}, "service prod"),
        ({"database_url": "postgresql://u@h:port/d"}, {POSTGRES}, "cannot be read|the database on"),
        ({"hf_endpoint": ""}, {HUGGINGFACE}, "the public Hub"),
        ({"hf_endpoint": ""}, {POSTGRES}, None),
        ({"hf_endpoint": "https://huggingface.co"}, {POSTGRES, HUGGINGFACE}, "the dataset on https://huggingface.co"),
        ({"hf_endpoint": "http://127.0.0.1.evil.example"}, {HUGGINGFACE}, "evil"),
        ({"hf_endpoint": "http://localhost:8000"}, {HUGGINGFACE}, None),
    ],
)
def test_approximate_values_stay_on_this_machine(
    changed: dict[str, Any], sides: set[ReadSource], named: str | None
) -> None:
    settings = Settings(**HERE | changed)
    require_publishable(settings, sides, approximate=False)
    require_publishable(Settings(**HERE | changed, enrich_publish_approximate=True), sides, approximate=True)
    if named is None:
        require_publishable(settings, sides, approximate=True)
        return
    with pytest.raises(ConfigurationError, match=named) as caught:
        require_publishable(settings, sides, approximate=True)
    assert "ENRICH_PUBLISH_APPROXIMATE" in str(caught.value)
    assert "segredo" not in str(caught.value)


def test_a_host_that_libpq_takes_from_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    with pytest.raises(ConfigurationError, match=r"db\.example"):
        require_publishable(Settings(database_url="postgresql:///d"), {POSTGRES}, approximate=True)
