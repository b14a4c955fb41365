"""The catalogue that we ship: every site and every first level is in it, and it passes our own checks."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from data_platform.jobs.master_data import load_agencies, load_themes
from data_platform.models.themes import ThemeTree

#: Sites by the path of their listing after https://www.gov.br/<key>/pt-br/ (FIELD_FACTS §5.1, June 2026).
SITES = {
    "assuntos/noticias": """
        abc aeb agricultura aids anatel ancine aneel anpd ans ansn cade capes casacivil cbpf cbtu cetene cnpq conarq
        conitec conselho-nacional-de-saude crcnne cti cultura cvm dnocs fazenda florestal fnde funai ibde
        imprensanacional inca incra inep inma inpa insa int iphan ird jbrj lapoc lna mast mdh mdic mec memp mj mme mpa
        museudoindio museus observatorio ouvidorias palmares pgfn planejamento portos-e-aeroportos povosindigenas
        propriedade-intelectual receitafederal saude secom senappen servidor sudeco sudene suframa transportes turismo
        iec ien""",
    "noticias": """
        abcd acessoainformacao antaq caslode cetem ctav esocial governodigital hfa inpp mcom mda mdr nfse previc
        previdencia secretariageral semanaenef siscomex tesouronacional transferegov""",
    "centrais-de-conteudo/noticias": "abin cdtn defesa esg funag inmetro",
    "centrais-de-conteudo/noticias/2025": "casaruibarbosa gsi",
    "centrais-de-conteudo/noticias-1": "fundaj",
    "centrais-de-conteudos/noticias": "ibc",
    "centrais-de-conteudo/destaques": "memoriasreveladas",
    "central-de-conteudos/noticias": "bn censipam ines mulheres susep",
    "central-de-conteudo/noticias": "esd inpi patrimonio pncp",
    "assuntos/noticias/ultimas-noticias": "anm cgu coaf icmbio mma",
    "assuntos/noticias/ultimas-noticias-1": "lncc",
    "assuntos/noticias/2025": "ctir ibama",
    "assuntos/ultimas-noticias": "antt inpe",
    "comunicacao/noticias": "agu ebserh fundacentro",
    "acesso-a-informacao/noticias": "compras culturaviva servicoscompartilhados",
    "assuntos/noticias-e-eventos/noticias": "ana",
    "noticias/ultimas-noticias-1": "anac",
    "canais_atendimento/imprensa/noticias-comunicados": "anp",
    "assuntos/noticias-anvisa": "anvisa",
    "canais_atendimento/imprensa/copy_of_noticias": "arquivonacional",
    "assuntos/noticias-cemaden/ultimas-noticias": "cemaden",
    "assuntos/noticias-1": "cidades",
    "assunto/ultimas-noticias": "cnen",
    "aconteceu-aqui/noticias": "corregedorias",
    "assuntos/noticias/": "dnit",
    "empreendedor/mais-noticias": "empresas-e-negocios",
    "noticias-e-conteudos/esporte": "esporte",
    "assuntos/noticias/todas-noticias": "funarte",
    "assuntos/noticias/noticias": "gestao",
    "colecoes/colecao-de-todas-as-noticias-do-site": "ibict",
    "assuntos/copy2_of_noticias": "igualdaderacial",
    "noticias/ultimas-noticias": "inss",
    "assuntos/noticias/indice-de-noticias/": "iti",
    "acompanhe-o-mcti/noticias/ultimas-noticias": "mcti",
    "noticias-e-conteudos/desenvolvimento-social/noticias-desenvolvimento-social": "mds",
    "assuntos/portal-consular/alertas%20e%20noticias/noticias": "mre",
    "arquivos/noticias": "museugoeldi",
    "assuntos/noticias/noticias-destaque": "pf",
    "acompanhe-o-planalto/noticias": "planalto",
    "noticias/nacionais": "prf",
    "acompanhe-a-reconstrucao/noticias": "reconstrucaors",
    "noticias/mais-noticias/ultimas-noticias": "sri",
    "noticias-1": "sudam",
    "noticias-e-conteudo": "trabalho-e-emprego",
}
#: Those whose listing is not below their own key (FIELD_FACTS §5.1, §5.2).
OTHERS = {
    "agencia_brasil": "https://agenciabrasil.ebc.com.br",
    "cisc": "https://www.gov.br/pt-br/noticias",
    "ebc": "https://memoria.ebc.com.br/noticias",
    "investidor": "https://www.gov.br/pt-br/noticias",
    "plataformamaisbrasil": "https://www.gov.br/transferegov/pt-br/noticias",
    "produtividade-e-comercio-exterior": "https://www.gov.br/pt-br/noticias",
    "tvbrasil": "https://tvbrasil.ebc.com.br",
}
FIRST_LEVELS = """
01 - Economia e Finanças
02 - Educação
03 - Saúde
04 - Segurança Pública
05 - Meio Ambiente e Sustentabilidade
06 - Ciência, Tecnologia e Inovação
07 - Infraestrutura e Transportes
08 - Cultura, Artes e Patrimônio
09 - Esportes e Lazer
10 - Agricultura, Pecuária e Abastecimento
11 - Indústria e Comércio
12 - Relações Internacionais e Diplomacia
13 - Justiça e Direitos Humanos
14 - Trabalho e Emprego
15 - Desenvolvimento Social
16 - Turismo
17 - Energia e Recursos Minerais
18 - Comunicações e Mídia
19 - Defesa e Forças Armadas
20 - Políticas Públicas e Governança
21 - Legislação e Regulamentação
22 - Eventos Oficiais e Cerimônias
23 - Estatísticas e Dados Públicos
24 - Minorias e Grupos Especiais
25 - Habitação e Urbanismo
""".strip().splitlines()


def test_every_site_is_there_with_its_listing() -> None:
    expected = OTHERS | {
        key: f"https://www.gov.br/{key}/pt-br/{path}" for path, keys in SITES.items() for key in keys.split()
    }
    assert len(expected) == 166
    assert {agency.key: agency.url for agency in load_agencies()} == expected


def test_agencies_are_in_alphabetical_order() -> None:
    keys = [agency.key for agency in load_agencies()]
    assert keys == sorted(keys)


def test_every_agency_has_a_type_and_a_parent_that_exists() -> None:
    agencies = load_agencies()
    known = {agency.key for agency in agencies} | {"presidencia"}
    assert [agency.key for agency in agencies if agency.parent_key not in known or not agency.type] == []


def test_names_are_unlike_each_other() -> None:
    names = [agency.name for agency in load_agencies()]
    assert len(set(names)) == len(names)


def test_themes_are_the_first_levels_and_the_one_branch_known() -> None:
    themes = load_themes()
    assert [theme.full_name for theme in themes if theme.level == 1] == FIRST_LEVELS
    assert [theme.full_name for theme in themes if theme.level > 1] == [
        "18.03 - Comunicação Digital",
        "18.03.05 - Comunicação Digital",
    ]
    assert len(ThemeTree(themes)) == 27


@pytest.mark.parametrize(("name", "setting"), [("agencies.yaml", "AGENCIES_SOURCE"), ("themes.yaml", "THEMES_SOURCE")])
def test_the_header_says_which_setting_replaces_the_file(name: str, setting: str) -> None:
    text = files("data_platform").joinpath("catalogue", name).read_text(encoding="utf-8")
    header = re.match(r"(#.*\n)+", text)
    assert header is not None
    assert setting in header.group()
