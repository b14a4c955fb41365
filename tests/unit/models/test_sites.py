"""site_urls.yaml: both forms are read, what is wrong is named, and the shipped one agrees with the agencies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from data_platform.errors import ConfigurationError, SourceError
from data_platform.jobs.master_data import load_agencies
from data_platform.jobs.scraper.catalogue import choose_sites, load_sites
from data_platform.models.agencies import Agency
from data_platform.models.sites import ScraperType, Site, check_sites, parse_sites

INACTIVE = """cisc ibde imprensanacional investidor lapoc produtividade-e-comercio-exterior siscomex"""
#: FIELD_FACTS §3.6.
API = """abc aids anatel anpd ansn censipam ctav esd esg esporte florestal funai fundacentro hfa ibc incra inpp insa int
    iphan lapoc mast memoriasreveladas memp mulheres museugoeldi ouvidorias patrimonio planejamento pncp
    portos-e-aeroportos povosindigenas previc propriedade-intelectual reconstrucaors sudeco susep transferegov"""


@pytest.fixture(scope="module")
def shipped() -> tuple[Site, ...]:
    return load_sites()


def gov_br(sites: Sequence[Site]) -> list[Site]:
    return [site for site in sites if site.host == "www.gov.br"]


def test_the_shipped_catalogue_has_every_site_of_june_2026(shipped: tuple[Site, ...]) -> None:
    sites = gov_br(shipped)
    assert (len(sites), sum(site.active for site in sites)) == (162, 155)
    assert [site.key for site in sites if not site.active] == INACTIVE.split()
    assert [site.key for site in sites if site.scraper_type is ScraperType.PLONE6_API] == API.split()
    assert [site.key for site in sites] == sorted(site.key for site in sites)
    assert all(site.disabled_reason for site in shipped if not site.active)


def test_the_shipped_catalogue_has_ebc(shipped: tuple[Site, ...]) -> None:
    ebc = {site.key: site for site in shipped if site.host.endswith(".ebc.com.br")}
    assert [*ebc] == ["agencia_brasil", "memoria-ebc", "tvbrasil"]
    assert ebc["memoria-ebc"].agency == "ebc"
    assert not ebc["memoria-ebc"].active
    assert ebc["memoria-ebc"].disabled_date == date(2026, 2, 12)
    assert ebc["tvbrasil"].scraper_type is ScraperType.TV_BRASIL


def test_the_shipped_catalogue_agrees_with_the_shipped_agencies(shipped: tuple[Site, ...]) -> None:
    """Fault 37: this is the check that keeps the one list of sites and the agencies together in CI."""
    found = check_sites(shipped, load_agencies())
    assert found.without_agency == ()
    assert found.without_site == ("plataformamaisbrasil",)
    assert found.only_inactive == (
        *("cisc", "ebc", "ibde", "imprensanacional", "investidor", "lapoc"),
        *("produtividade-e-comercio-exterior", "siscomex"),
    )
    assert (found.shared, found.misfiled, found.address_differs) == ((), (), ())
    assert found.year_in_address == ("casaruibarbosa", "ctir", "gsi", "ibama")


def test_active_sites_without_an_agency_are_listed_and_still_scraped() -> None:
    """Fault 20: their news was dropped; here it gets a stub later."""
    sites = parse_sites("agencies: {ansn: 'https://www.gov.br/ansn/pt-br/assuntos/noticias'}", origin="f")
    assert check_sites(sites, [Agency("aeb", "AEB")]).without_agency == ("ansn",)
    assert check_sites(sites, [Agency("aeb", "AEB")]).without_site == ("aeb",)
    assert choose_sites(sites) == sites


def test_odd_sites_are_listed() -> None:
    sites = parse_sites(
        """
agencies:
  a: https://www.gov.br/a/pt-br/noticias
  b: https://www.gov.br/a/pt-br/noticias/
  c: {url: 'https://www.gov.br/c/pt-br/noticias', active: false}
""",
        origin="f",
    )
    agencies = [Agency("a", "A", url="https://www.gov.br/a/pt-br/outras"), Agency("b", "B"), Agency("c", "C")]
    found = check_sites(sites, agencies)
    assert (found.shared, found.misfiled, found.only_inactive) == (("a", "b"), ("b",), ("c",))
    assert found.address_differs == ("a",)
    assert found.lines() == ["only inactive: c", "shared: a, b", "misfiled: b", "address differs: a"]


def test_both_forms_are_read() -> None:
    old, new = parse_sites(
        """
agencies:
  hfa: " http://WWW.gov.br/hfa/pt-br/noticias/?b_start:int=0#topo "
  iphan: {url: 'https://www.gov.br/iphan/pt-br/assuntos/noticias', active: false, scraper_type: plone6_api,
          disabled_reason: mudou, disabled_date: 2026-02-11}
""",
        origin="f",
    )
    assert old == Site(key="hfa", agency="hfa", url="https://www.gov.br/hfa/pt-br/noticias")
    assert (new.scraper_type, new.active, new.disabled_reason) == (ScraperType.PLONE6_API, False, "mudou")
    assert new.disabled_date == date(2026, 2, 11)


def test_ebc_in_a_file_of_its_own_form_is_known_by_its_hosts() -> None:
    (site,) = parse_sites("ebc: {agencia_brasil: {url: https://agenciabrasil.ebc.com.br/ultimas}}", origin="f")
    assert site.scraper_type is ScraperType.AGENCIA_BRASIL


def test_a_year_at_the_end_of_the_address_is_noticed() -> None:
    sites = parse_sites(
        "agencies: {a: 'https://www.gov.br/a/noticias/2025/', b: 'https://www.gov.br/b/noticias-2025'}", origin="f"
    )
    assert [site.year for site in sites] == [2025, None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sources: {aeb: {name: AEB}}", "looks like agencies.yaml"),
        ("agencies: {aeb: {name: AEB, url: 'https://www.gov.br/aeb'}}", "looks like agencies.yaml"),
        ("sites: {}", "no top key `agencies`; its top keys begin with 'sites'"),
        ("[1]", "is not a mapping"),
        ("agencies: [1]", "`agencies` is not a mapping"),
        ("agencies: {}", "holds no site"),
        ("agencies: {no: https://x}", "site key False is not text"),
        ("agencies: {Ação: https://x}", "site 'Ação' has characters"),
        ("agencies: {a: 1}", "site 'a' is neither an address nor a mapping"),
        ("agencies: {a: {active: true}}", "site 'a' has no url"),
        ("agencies: {a: 'ftp://x'}", "site 'a': url 'ftp://x' is not an http"),
        ("agencies: {a: 'https://u:p@www.gov.br/a'}", "has a user or a port"),
        ("agencies: {a: 'https://www.gov.br:8080/a'}", "has a user or a port"),
        ("agencies: {a: 'https://www.gov.br:nn/a'}", "site 'a': url 'https://www.gov.br:nn/a' is no address"),
        ("agencies: {a: {url: 'https://x', actve: false}}", "site 'a' has 'actve', which means nothing"),
        ("agencies: {a: {url: 'https://x', active: 'no'}}", "site 'a': active is 'no'"),
        ("agencies: {a: {url: 'https://x', scraper_type: volto}}", "scraper_type 'volto' is not known"),
        ("agencies: {a: {url: 'https://x', disabled_date: ontem}}", "disabled_date 'ontem' is not a day"),
        ("agencies: {a: {url: 'https://x', disabled_reason: 3}}", "disabled_reason is 3 to YAML"),
        ("agencies: {a: 'https://x'}\nebc: {a: 'https://y'}", "site 'a' stands below `agencies` and below `ebc`"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(text: str, told: str) -> None:
    with pytest.raises(SourceError, match=re.escape(told)) as caught:
        parse_sites(text, origin="the file")
    assert "the file" in str(caught.value)


def test_a_file_without_ebc_is_completed_and_one_with_ebc_is_not(tmp_path: Path) -> None:
    given = tmp_path / "site_urls.yaml"
    given.write_text("agencies: {aeb: 'https://www.gov.br/aeb/pt-br/assuntos/noticias'}\n", encoding="utf-8")
    assert [site.key for site in load_sites(str(given))] == ["aeb", "agencia_brasil", "memoria-ebc", "tvbrasil"]
    given.write_text(given.read_text(encoding="utf-8") + "ebc: {}\n", encoding="utf-8")
    assert [site.key for site in load_sites(str(given))] == ["aeb"]


def test_active_sites_are_chosen_and_inactive_ones_by_name(shipped: tuple[Site, ...]) -> None:
    assert len(choose_sites(shipped)) == 157
    assert [site.key for site in choose_sites(shipped, ["lapoc", "aeb", "lapoc"])] == ["lapoc", "aeb"]
    with pytest.raises(ConfigurationError, match="there is no site 'aebb'"):
        choose_sites(shipped, ["aeb", "aebb"])


def test_the_header_says_which_setting_replaces_the_file() -> None:
    import data_platform

    text = (Path(data_platform.__file__).parent / "catalogue" / "site_urls.yaml").read_text(encoding="utf-8")
    header = re.match(r"(#.*\n)+", text)
    assert header is not None
    assert "SITES_SOURCE" in header.group()
