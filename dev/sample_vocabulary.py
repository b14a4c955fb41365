"""The words of the made-up corpus: Portuguese of government news, written for this project.

Every list is in falling order of use; words are drawn with Zipf's law over that order, which makes
the text compress about as well as real news does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

__all__ = ["CATEGORIES", "LOWER_THEMES", "SUFFIXES", "TAGS", "Lexicon", "zipf"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", " ").split("|") if part.strip())


_LISTS: Mapping[str, tuple[str, ...]] = {
    # nouns and adjectives by gender, so that they agree
    "nf": _words(
        """política|ação|iniciativa|proposta|medida|estratégia|campanha|parceria|cooperação|pesquisa|formação|
        capacitação|consulta|oficina|reunião|agenda|plataforma|ferramenta|rede|obra|licitação|concessão|fiscalização|
        operação|vistoria|resolução|portaria|norma|diretriz|meta|avaliação|análise|conferência|jornada|mostra|
        exposição|premiação|bolsa|linha de crédito|carteira de projetos|auditoria|força-tarefa|missão|delegação|
        negociação|safra|vacinação|triagem|cartilha|metodologia|base de dados|infraestrutura|restauração|coleção|
        travessia|ferrovia|hidrovia|duplicação|estiagem|enchente|colheita|biblioteca|orquestra|maratona"""
    ),
    "af": _words(
        """nacional|pública|federal|social|regional|técnica|ambiental|econômica|nova|integrada|digital|permanente|
        participativa|conjunta|inédita|sustentável|internacional|prioritária|anual|municipal|científica|cultural|
        estratégica|emergencial|preventiva|simplificada|inclusiva|comunitária|itinerante|periódica|bilateral|
        descentralizada|interministerial|ribeirinha|quilombola|indígena|rural|urbana|costeira|amazônica|pantaneira"""
    ),
    "nm": _words(
        """programa|projeto|plano|acordo|edital|sistema|serviço|investimento|evento|encontro|seminário|curso|
        relatório|estudo|levantamento|convênio|termo de cooperação|decreto|comitê|conselho|grupo de trabalho|
        fórum|mutirão|centro de referência|laboratório|observatório|aplicativo|painel de dados|cadastro|
        financiamento|repasse|cronograma|leilão|concurso|calendário|protocolo|manual|guia|selo|prêmio|festival|
        acervo|parque|porto|aeroporto|hospital|posto de atendimento|corredor ecológico|abrigo|viveiro|reservatório|
        assentamento|mapa|censo|satélite|radar|navio|trecho|viaduto|museu"""
    ),
    "am": _words(
        """nacional|público|federal|social|regional|técnico|ambiental|econômico|novo|integrado|digital|permanente|
        participativo|conjunto|inédito|sustentável|internacional|prioritário|anual|municipal|científico|cultural|
        estratégico|emergencial|preventivo|simplificado|inclusivo|comunitário|itinerante|periódico|bilateral|
        descentralizado|interministerial|ribeirinho|quilombola|indígena|rural|urbano|costeiro|amazônico|pantaneiro"""
    ),
    "quem": _words(
        """a pasta|o órgão|a secretaria|o ministério|a autarquia|a equipe técnica|o instituto|a diretoria|
        a coordenação-geral|a superintendência|o governo federal|a agência|a fundação|o comitê gestor|
        a comissão organizadora|o conselho deliberativo|a ouvidoria|a corregedoria|o corpo de servidores|
        a procuradoria|a rede de pesquisadores|o consórcio de municípios|a presidência do colegiado|
        a unidade regional|o centro de pesquisa|a prefeitura|o governo estadual|a universidade|
        a câmara setorial|a delegação brasileira|o batalhão|a cooperativa|a associação de moradores"""
    ),
    "cargo": _words(
        """o ministro|a ministra|o secretário|a secretária|o diretor|a diretora|o presidente do instituto|
        a coordenadora-geral|o coordenador|a superintendente|o superintendente|a pesquisadora|o pesquisador|
        a gerente de projetos|o chefe de gabinete|a analista|o engenheiro responsável|a reitora|o prefeito|
        a governadora|o embaixador|a professora|o produtor rural|a agente comunitária|o técnico agrícola"""
    ),
    "publico": _words(
        """famílias de baixa renda|estudantes da rede pública|servidores|agricultores familiares|jovens|
        pequenas empresas|povos tradicionais|gestores municipais|trabalhadores|mulheres empreendedoras|idosos|
        pessoas com deficiência|profissionais de saúde|pescadores artesanais|pesquisadores|professores|
        comunidades isoladas|turistas|atletas|artistas locais|refugiados|exportadores|caminhoneiros|
        startups|catadores de material reciclável|crianças de até seis anos|usuários do transporte coletivo"""
    ),
    "verbo": _words(
        """anunciou|lançou|apresentou|publicou|ampliou|concluiu|iniciou|aprovou|assinou|promoveu|autorizou|
        entregou|realizou|inaugurou|prorrogou|retomou|regulamentou|destacou|atualizou|discutiu|coordenou|
        instituiu|vistoriou|reforçou|reuniu|avaliou|homologou|modernizou|divulgou|consolidou|restaurou"""
    ),
    "infinitivo": _words(
        """ampliar o acesso|reduzir desigualdades|garantir direitos|fortalecer a rede de atendimento|
        melhorar a qualidade dos serviços|gerar emprego e renda|proteger o meio ambiente|modernizar a gestão|
        dar transparência aos gastos|incentivar a inovação|qualificar profissionais|prevenir acidentes|
        valorizar a cultura local|acelerar as entregas|combater a desinformação|simplificar procedimentos|
        aumentar a segurança nas estradas|estimular a leitura|recuperar áreas degradadas|evitar o desperdício|
        atrair investimentos|encurtar a fila de espera|levar água tratada a mais municípios|
        apoiar a transição energética|preservar a memória do país|atualizar os dados oficiais"""
    ),
    "lugar": _words(
        """em Brasília|em São Paulo|no Rio de Janeiro|em Salvador|em Belém|no Recife|em Fortaleza|em Manaus|
        em Porto Alegre|em Belo Horizonte|em Curitiba|em Goiânia|em São Luís|em Natal|em Cuiabá|em Vitória|
        em Florianópolis|em Porto Velho|em Macapá|em Boa Vista|em Palmas|em Teresina|em Aracaju|em Maceió|
        em João Pessoa|em Campo Grande|em Rio Branco|em Santarém|em Petrolina|em Campina Grande|em Pelotas|
        em Uberlândia|em Feira de Santana|em Imperatriz|em Parintins|em Corumbá|em Joinville|em Ouro Preto|
        em Juazeiro do Norte|em Caruaru|em Dourados|em Ilhéus|em Tefé|em Altamira|em Sobral|em Lages"""
    ),
    "regiao": _words(
        """todo o país|estados do Nordeste|municípios da região Norte|áreas de fronteira|capitais|
        regiões metropolitanas|cidades do semiárido|municípios de pequeno porte|bacias hidrográficas do Sul|
        territórios quilombolas|unidades de conservação|polos industriais|zonas portuárias|a Amazônia Legal|
        o Cerrado|o litoral do Sudeste|o Vale do Jequitinhonha|o interior do Centro-Oeste|a Serra Gaúcha"""
    ),
    "mes": _words("março|agosto|novembro|maio|outubro|abril|junho|setembro|julho|dezembro|fevereiro|janeiro"),
    "semana": _words("segunda-feira|terça-feira|quarta-feira|quinta-feira|sexta-feira|sábado|domingo"),
    "nome": _words(
        """Ana|João|Maria|Carlos|Paula|Marcos|Luciana|Roberto|Fernanda|Antônio|Juliana|Pedro|Camila|Rafael|
        Beatriz|Sérgio|Helena|Tiago|Cláudia|Eduardo|Márcia|Vinícius|Raimunda|Otávio|Iara|Davi|Conceição|Moacir"""
    ),
    "sobrenome": _words(
        """Silva|Souza|Oliveira|Santos|Pereira|Lima|Costa|Ferreira|Almeida|Ribeiro|Carvalho|Araújo|Barbosa|
        Rocha|Nogueira|Cavalcanti|Teixeira|Moura|Batista|Farias|Guimarães|Prado|Sampaio|Tavares|Vasconcelos|
        Yamamoto|Schneider|Kaingang|Bittencourt|Meireles|Quaresma|Pantoja|Dantas|Figueira|Lacerda"""
    ),
    "fecho": _words(
        """segundo o cronograma divulgado|conforme o edital|de acordo com a nota técnica|ainda neste semestre|
        sem custo para os participantes|com recursos do orçamento da União|em parceria com os estados|
        com apoio de organismos internacionais|a partir do próximo mês|até o fim do ano|por meio de videoconferência|
        após consulta pública|com transmissão ao vivo|em regime de urgência|mediante inscrição prévia|
        conforme publicado no Diário Oficial da União|com base em dados preliminares|em caráter experimental|
        ao longo dos próximos três anos|respeitadas as regras do período eleitoral"""
    ),
}

_SENTENCES: tuple[str, ...] = _words(
    """{Quem} {verbo} nesta {semana} ({d}) {uma} {nf} {af} para {infinitivo} e atender {publico} de {regiao}.|
    {Um} {nm} {am} prevê R$ {reais} milhões para {infinitivo}, {fecho}.|
    Ao todo, {milhares} {publico} devem ser beneficiados, {fecho}.|
    “{A} {nf} {af} é um passo importante para {infinitivo}”, afirmou {cargo} {nome} {sobrenome}.|
    {Cargo} {nome} {sobrenome} destacou que {quem} já {verbo} {um} {nm} {am} {lugar}.|
    As inscrições vão até {d} de {mes} e podem ser feitas no portal do órgão, {fecho}.|
    O encontro ocorreu {lugar} e reuniu representantes de {regiao}, além de {publico}.|
    Entre {mes} e {mes}, {quem} {verbo} {numero} projetos voltados a {publico}.|
    {Quem} informa que {o} {nm} {am} passa a valer em {d} de {mes}, {fecho}.|
    De acordo com o levantamento, houve aumento de {pct}% no atendimento a {publico} em {regiao}.|
    A expectativa é {infinitivo} e, ao mesmo tempo, {infinitivo}.|
    {Cargo} explicou que {a} {nf} {af} depende de {um} {nm} {am}, já em fase de contratação.|
    Também participaram da cerimônia {cargo} {nome} {sobrenome} e {cargo} {nome} {sobrenome}.|
    Para {nome} {sobrenome}, que vive {lugar}, {a} {nf} chega em boa hora: “Agora dá para {infinitivo}”.|
    O texto define critérios de seleção, prazos e formas de acompanhamento d{o} {nm} {am}.|
    {Quem} recebeu {numero} contribuições durante a consulta, das quais {pct}% tratam d{a} {nf} {af}.|
    Em {regiao}, o valor médio por município chega a R$ {reais} mil, {fecho}.|
    A programação inclui oficinas, palestras e {uma} {nf} {af} aberta a {publico}.|
    No mesmo período do ano passado, o índice era de {pct}%.|
    Mais informações estão disponíveis [na página d{o} {nm}](https://www.gov.br/pt-br/servicos/{numero}).|
    {Quem} lembra que denúncias podem ser feitas pelo telefone {numero}, todos os dias.|
    Os próximos passos serão definidos em {mes}, quando {quem} apresentará {um} {nm} {am}.|
    {O} {nm} conta com {numero} equipes, {pct}% delas em {regiao}.|
    Com {a} {nf} {af}, {quem} espera {infinitivo} em até {numero} dias.|
    Segundo {cargo} {sobrenome}, “{o} {nm} mostra que é possível {infinitivo} sem deixar de {infinitivo}”.|
    A entrega {lugar} soma {numero} metros quadrados e recebeu R$ {reais} milhões.|
    Desde {mes}, {publico} contam com {um} {nm} {am} para {infinitivo}.|
    {Quem} {verbo}, {lugar}, {o} {nm} {am} e {a} {nf} {af}.|
    A medida vale para {regiao} e não altera os contratos em vigor.|
    Foram {numero} atendimentos em {d} dias, com tempo médio de {pct} minutos.|
    {Cargo} {nome} {sobrenome} {verbo} {um} {nm} em {lugarejo} e em {lugarejo}, onde vivem {numero} {publico}.|
    O processo {processo} trata d{o} {nm} {am} e foi relatado por {nome} {lugarejo} {sobrenome}, do {sigla}.|
    {Sigla}, {sigla} e {sigla} integram {o} {nm}, sob a coordenação de {nome} {sobrenome}.|
    Moradora de {lugarejo}, {nome} {sobrenome} resume: “Sem {a} {nf} {af} não haveria como {infinitivo}”.|
    Na região de {lugarejo}, {quem} {verbo} {uma} {nf} com {numero} {publico}, vindos de {lugarejo} e {lugarejo}.|
    {Quem} firmou com a empresa {lugarejo} Engenharia o contrato {processo}, de R$ {reais} milhões.|
    ![{Nf} {af} em {lugarejo}](https://www.gov.br/imagens/{processo}.jpeg/@@images/{sigla}-{numero}.jpeg)|
    O {sigla} e o Instituto {lugarejo} estudam como {infinitivo} às margens do rio {lugarejo}."""
)

_TITLES: tuple[str, ...] = _words(
    """{Quem} {verbo} {nf} {af} para {infinitivo}|{Quem} {verbo} {nm} {am} {lugar}|
    {Nm} {am} vai {infinitivo} em {regiao}|{Nf} {af} beneficia {publico} {lugar}|
    Inscrições abertas para {nm} {am} destinado a {publico}|{Cargo} apresenta {nf} {af} {lugar}|
    Com R$ {reais} milhões, {quem} quer {infinitivo}|{Nf} {af} reúne {publico} {lugar}|
    Governo investe em {nm} {am} para {infinitivo}|{Quem} participa de {nm} {am} sobre como {infinitivo}"""
)

#: What makes a title the only one of its kind; `{}` is its number.
SUFFIXES: tuple[str, ...] = (
    " – edital {}",
    " (portaria nº {})",
    ": boletim {}",
    " – etapa {}",
    ", diz nota técnica {}",
)

CATEGORIES: tuple[str, ...] = _words(
    """Notícias|Institucional|Saúde|Educação|Meio ambiente|Economia|Infraestrutura|Eventos|Cultura|Ciência|Gestão|
    Segurança|Direitos humanos|Esporte|Turismo|Agricultura|Comunicado|EDITAIS|Assistência Social|Transporte"""
)
TAGS: tuple[str, ...] = _words(
    """governo federal|saúde|educação|meio ambiente|investimento|inovação|cultura|agricultura|transparência|
    sustentabilidade|emprego|infraestrutura|direitos humanos|pesquisa|turismo|esporte|segurança pública|vacinação|
    clima|energia|mulheres|juventude|povos indígenas|acessibilidade|#ciência|habitação|exportação|concurso|
    Amazônia|ODS|rodovias|portos|patrimônio|bolsas|capacitação|SUS"""
)
#: Names for themes below the first level, where the catalogue has none.
LOWER_THEMES: tuple[str, ...] = _words(
    """Planejamento e Metas|Financiamento|Fiscalização e Controle|Participação Social|Formação de Pessoas|
    Pesquisa e Dados|Atendimento ao Cidadão|Cooperação entre Entes|Obras e Equipamentos"""
)

#: Names of villages, rivers and firms that nobody has heard of.
_SYLLABLES = _words(
    "a|ba|ca|di|e|fa|gua|i|ja|la|ma|na|o|pa|qui|ra|sa|ta|u|va|xi|zu|bo|ce|do|fi|go|ju|le|mi|no|pi|ri|so|te|vi|rê|tã"
)
#: Words of one list that one topic uses, repeats included.
_WORDS_PER_TOPIC = 16
_INDEFINITE = {"um": "um", "uma": "uma", "o": "o", "a": "a"}


class Lexicon:
    """Draws sentences and titles from the words above.

    Args:
        rng: where chance comes from; the same state gives the same texts.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._stock: dict[str, list[str]] = {}
        self._makers: Mapping[str, Callable[[int], list[str]]] = {
            "d": lambda size: list(map(str, rng.integers(1, 29, size))),
            "pct": lambda size: [f"{tenths // 10},{tenths % 10}" for tenths in rng.integers(11, 990, size)],
            "numero": lambda size: [_grouped(value) for value in rng.lognormal(5.5, 1.6, size).astype(int) + 2],
            "milhares": lambda size: [f"{value} mil" for value in rng.integers(2, 900, size)],
            "lugarejo": lambda size: [self._name(parts) for parts in rng.integers(2, 5, size).tolist()],
            "sigla": lambda size: ["".join(letters) for letters in rng.choice(list("ABCDEFIMNOPRSTU"), (size, 4))],
            "processo": lambda size: [_process_number(n) for n in rng.integers(10**10, size=size).tolist()],
            "reais": lambda size: [f"{tenths // 10},{tenths % 10}" for tenths in rng.integers(15, 9800, size)],
        }

    def sentences(self, topics: int, per_topic: int) -> list[str]:
        """Return sentences topic after topic.

        A topic keeps to a part of the words, as an article does: its text repeats itself, while the
        texts of two topics have less in common. That is what makes one article compress well and a
        file of many articles not much better.
        """
        found: list[str] = []
        for _ in range(topics):
            found += self._fill(_SENTENCES, per_topic)
        return found

    def titles(self, count: int, *, per_topic: int = 50) -> list[str]:
        """Return that many titles, as yet without what makes each the only one."""
        found: list[str] = []
        while len(found) < count:
            found += self._fill(_TITLES, min(per_topic, count - len(found)))
        return found

    def _fill(self, templates: Sequence[str], count: int) -> list[str]:
        """Return texts of one topic."""
        self._stock.clear()
        parsed = [_parts(template) for template in templates]
        return ["".join(map(self._part, parsed[i])) for i in self._rng.integers(len(parsed), size=count).tolist()]

    def _part(self, part: tuple[str, bool]) -> str:
        text, is_slot = part
        if not is_slot:
            return text
        key = text.lower()
        word = _INDEFINITE.get(key) or self._draw(key)
        return word[0].upper() + word[1:] if text[0].isupper() else word

    def _name(self, parts: int) -> str:
        return "".join(_SYLLABLES[i] for i in self._rng.integers(len(_SYLLABLES), size=parts).tolist()).capitalize()

    def _draw(self, key: str) -> str:
        stock = self._stock.get(key)
        if not stock:
            stock = self._stock[key] = self._refill(key, 400)
        return stock.pop()

    def _refill(self, key: str, size: int) -> list[str]:
        if maker := self._makers.get(key):
            return maker(size)
        words = _LISTS[key]
        topic = zipf(self._rng, len(words), _WORDS_PER_TOPIC)
        return [words[i] for i in topic[zipf(self._rng, len(topic), size)].tolist()]


def zipf(rng: np.random.Generator, kinds: int, size: int | tuple[int, int], *, exponent: float = 0.6) -> np.ndarray:
    """Draw numbers below `kinds`, the n-th with a weight of 1 / n**exponent."""
    weights = 1.0 / np.arange(1, kinds + 1) ** exponent
    return rng.choice(kinds, size, p=weights / weights.sum())


def _parts(template: str) -> list[tuple[str, bool]]:
    """Split a template into its fixed texts and its slots."""
    edges = [0, *(edge for match in re.finditer(r"\{\w+\}", template) for edge in match.span()), len(template)]
    pieces = [template[start:end] for start, end in pairwise(edges)]
    return [(piece[1:-1], True) if piece.startswith("{") else (piece, False) for piece in pieces if piece]


def _process_number(n: int) -> str:
    return f"{n // 10**5:05d}.{n % 10**5:05d}/20{n % 14 + 12}-{n % 97:02d}"


def _grouped(value: int) -> str:
    return f"{value:,}".replace(",", ".")
