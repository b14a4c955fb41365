"""Settings from the environment, and no password in any message."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from data_platform.errors import ConfigurationError
from data_platform.settings import Settings, normalise_database_url, redact_url


def from_environment(**environment: str) -> Settings:
    return Settings.from_environment(environment)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@h:5433/d",
        "postgresql://u:p@h:5433/d",
        "postgresql+psycopg2://u:p@h:5433/d",
        "postgresql+psycopg://u:p@h:5433/d",
        " postgres://u:p@h:5433/d\n",
    ],
)
def test_every_form_of_a_postgresql_address_is_read(url: str) -> None:
    assert normalise_database_url(url) == "postgresql://u:p@h:5433/d"
    assert from_environment(DATABASE_URL=url).database_url == "postgresql://u:p@h:5433/d"
    assert Settings().with_database(url).database_url == "postgresql://u:p@h:5433/d"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:segredo@h/d",
        "mysql://u:segre/segredo@h/d",
        "host=h dbname=d password=segredo",
        "u:segredo@h/d",
        "mysql://h/d?user=u&password=segredo",
    ],
)
def test_another_database_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        normalise_database_url(url)
    assert "segredo" not in str(caught.value)


def test_nothing_is_set() -> None:
    settings = from_environment()
    assert settings == Settings()
    assert settings.hf_dataset == "nitaibezerra/govbrnews"
    assert settings.reports_uri == "reports"
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL.*GOVBRNEWS_DB_HOST"):
        settings.require_database()


def test_values_are_stripped_and_empty_ones_are_none() -> None:
    """Fault 59: secrets arrive with a newline at their end."""
    settings = from_environment(HF_TOKEN="hf_x\n", HF_DATASET=" \n", REPORTS_URI="", HF_ENDPOINT=" http://h ")
    assert (settings.hf_token, settings.hf_endpoint) == ("hf_x", "http://h")
    assert (settings.hf_dataset, settings.reports_uri) == ("nitaibezerra/govbrnews", "reports")


def test_each_variable_has_its_place() -> None:
    settings = from_environment(
        HF_TOKEN="a", HF_ENDPOINT="b", HF_DATASET="c", AGENCIES_SOURCE="d", THEMES_SOURCE="e", REPORTS_URI="f"
    )
    assert (settings.hf_token, settings.hf_endpoint, settings.hf_dataset) == ("a", "b", "c")
    assert (settings.agencies_source, settings.themes_source, settings.reports_uri) == ("d", "e", "f")


def parts(**environment: str) -> dict[str, str | None]:
    return conninfo_to_dict(from_environment(**environment).require_database())


def test_the_database_may_be_given_in_parts() -> None:
    given_parts = {"HOST": "h", "NAME": "d", "USER": "u", "PASSWORD": "p:/@#?%&= é\n", "PORT": "5433"}
    assert parts(**{f"GOVBRNEWS_DB_{name}": value for name, value in given_parts.items()}) == {
        "host": "h",
        "dbname": "d",
        "user": "u",
        "password": "p:/@#?%&= é",
        "port": "5433",
    }
    assert parts(GOVBRNEWS_DB_HOST="h", GOVBRNEWS_DB_USER="", GOVBRNEWS_DB_NAME="", GOVBRNEWS_DB_PORT="") == {
        "host": "h",
        "dbname": "govbrnews",
        "user": "govbrnews_app",
        "port": "5432",
    }


@pytest.mark.parametrize("host", ["/cloudsql/projeto:regiao:instancia", "2001:db8::1", "10.0.0.7"])
def test_hosts_of_every_kind(host: str) -> None:
    found = parts(GOVBRNEWS_DB_HOST=host, GOVBRNEWS_DB_NAME="d", GOVBRNEWS_DB_PASSWORD="p")
    assert found == {"host": host, "dbname": "d", "user": "govbrnews_app", "password": "p", "port": "5432"}


def test_the_whole_address_wins_over_its_parts() -> None:
    settings = from_environment(DATABASE_URL="postgresql://a/b", GOVBRNEWS_DB_HOST="h")
    assert settings.database_url == "postgresql://a/b"


def test_no_other_database_changes_nothing() -> None:
    settings = Settings(database_url="postgresql://a/b", hf_token="t")
    for nothing in (None, ""):
        assert settings.with_database(nothing) is settings
    assert settings.with_database("postgres://c/d") == Settings(database_url="postgresql://c/d", hf_token="t")


def test_settings_do_not_change_under_anyone_s_hands() -> None:
    settings = Settings()
    for field in fields(settings):
        with pytest.raises(FrozenInstanceError):
            setattr(settings, field.name, "x")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u:p/w#?@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://h/d?user=u&password=p&sslmode=require", "postgresql://h/d?user=u&password=***&sslmode=require"),
        ("postgresql:///d?host=/tmp&sslpassword=p", "postgresql:///d?host=/tmp&sslpassword=***"),
        ("", ""),
    ],
)
def test_a_shown_address_has_no_password(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="*"), min_size=1, max_size=12))
def test_no_password_however_odd_is_shown(password: str) -> None:
    assert redact_url(f"postgresql://u:{password}@h/d") == "postgresql://u:***@h/d"


def test_typesense_is_given_in_single_variables_or_as_one_json() -> None:
    single = from_environment(
        TYPESENSE_HOST="h\n",
        TYPESENSE_PORT="443",
        TYPESENSE_PROTOCOL="https",
        TYPESENSE_API_KEY="k\n",
        TYPESENSE_COLLECTION="noticias",
        TYPESENSE_BATCH_SIZE="100",
        TYPESENSE_CONCURRENCY="4",
    )
    found = (single.typesense_host, single.typesense_port, single.typesense_protocol, single.typesense_api_key)
    assert found == ("h", 443, "https", "k")
    assert single.typesense_collection == "noticias"
    assert (single.typesense_batch_size, single.typesense_concurrency) == (100, 4)
    told = '{"host": "j", "port": 8443, "protocol": "https", "apiKey": "w\\n"}'
    joint = from_environment(TYPESENSE_WRITE_CONN=told, TYPESENSE_HOST="h", TYPESENSE_API_KEY="k")
    found = (joint.typesense_host, joint.typesense_port, joint.typesense_protocol, joint.typesense_api_key)
    assert found == ("j", 8443, "https", "w")


@pytest.mark.parametrize("told", ["segredo", '["segredo"]', '{"apiKey": "segredo"}'])
def test_a_write_connection_that_is_none_is_refused_without_telling_the_key(told: str) -> None:
    with pytest.raises(ConfigurationError, match="TYPESENSE_WRITE_CONN") as caught:
        from_environment(TYPESENSE_WRITE_CONN=told)
    assert "segredo" not in str(caught.value)
