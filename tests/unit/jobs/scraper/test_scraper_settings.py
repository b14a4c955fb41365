"""What the environment says about scraping (fault 57: it is configured, and nothing is a key)."""

from __future__ import annotations

import pytest

from data_platform.errors import ConfigurationError
from data_platform.settings import DEFAULT_USER_AGENT, Settings


def test_nothing_is_set() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert (settings.scraper_connections, settings.scraper_requests_per_second) == (8, 8.0)
    assert (settings.sites_source, settings.scraper_base_url, settings.scraper_honours_robots) == ("", "", True)


def test_each_variable_has_its_place() -> None:
    settings = Settings.from_environment(
        {
            "SITES_SOURCE": " a\n",
            "SCRAPER_USER_AGENT": "b",
            "SCRAPER_BASE_URL": "c",
            "SCRAPER_CONNECTIONS": "4",
            "SCRAPER_REQUESTS_PER_SECOND": "2.5",
            "SCRAPER_ROBOTS": "ignore",
        }
    )
    assert (settings.sites_source, settings.scraper_user_agent, settings.scraper_base_url) == ("a", "b", "c")
    assert (settings.scraper_connections, settings.scraper_requests_per_second) == (4, 2.5)
    assert not settings.scraper_honours_robots


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SCRAPER_CONNECTIONS", value) for value in ("many", "nan", "-1", "1e3", "2.5")),
        *(("SCRAPER_REQUESTS_PER_SECOND", value) for value in ("inf", "-2", "8/s")),
        ("SCRAPER_ROBOTS", "no"),
    ],
)
def test_what_means_nothing_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.from_environment({name: value})


def test_the_user_agent_says_who_asks_in_a_form_that_sites_accept() -> None:
    assert DEFAULT_USER_AGENT.startswith("Mozilla/5.0 ")
    assert "compatible; DestaquesGovBr/" in DEFAULT_USER_AGENT
    assert "+https://" in DEFAULT_USER_AGENT
