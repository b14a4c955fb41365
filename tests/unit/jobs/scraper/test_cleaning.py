"""Cleaning and Markdown: what goes, what stays, and the guards that keep a word from taking an article away."""

from __future__ import annotations

import time

import pytest

from data_platform.jobs.scraper.cleaning import Surroundings
from data_platform.jobs.scraper.markdown import Body, read_body

BASE = "https://www.gov.br/mec/pt-br/noticias/uma"
SENTENCE = "O ministério anunciou nesta quinta-feira um novo programa de bolsas para a rede pública."
TEXT = f"<p>{SENTENCE}</p>" + "".join(
    f"<p>As inscrições da fase {n} começam em março, diz o edital.</p>" for n in range(6)
)


def read(html: str, **known: str) -> Body:
    return read_body(html, Surroundings(BASE, **known))


def content(html: str, **known: str) -> str:
    found = read(html, **known).content
    assert found is not None
    return found


PLAIN = content(TEXT)


@pytest.mark.parametrize(
    "furniture",
    [
        "<script>alert(1)</script><style>p {}</style><!-- comentário -->",
        '<div class="social-links"><span>Compartilhe:</span><a href="https://twitter.com/share?x">Twitter</a></div>',
        '<ul class="share"><li><a href="/copia">Copiar link</a></li></ul>',
        "<p>Compartilhe:</p>",
        "<p>Compartilhe esta notícia nas redes sociais</p>",
        '<p><a href="https://www.facebook.com/sharer/sharer.php?u=x">Facebook</a></p>',
        '<a href="https://api.whatsapp.com/send?text=x"><img src="/w.png"></a>',
        '<a href="mailto:?subject=Veja&amp;body=x">E-mail</a>',
        '<a href="/x">link para Copiar para área de transferência</a>',
        "<div><span>Publicado em</span> <span>05/02/2026 13h47</span></div>",
        "<p>Publicado em 05/02/2026 13h47 | Atualizado em 06/02/2026 10h00</p>",
        '<div class="documentByLine">por Assessoria — 05/02/2026</div>',
        '<span class="publishedDate">ontem</span>',
        '<div class="keywords"><span>Tags:</span> <a href="/t">clima</a>, <a href="/u">SUS</a></div>',
        '<div class="portal-metadata">Gov. <a href="/x">Ver</a></div>',
        '<nav id="portal-breadcrumbs"><a href="/">Início</a> / <a href="/n">Notícias</a></nav>',
        "<p>Categoria</p><p>Tags:</p><p>Palavras-chave:</p>",
        "<p><strong>Assessoria de Comunicação – Ministério da Educação</strong></p>",
        "<p>Assessoria Especial de Comunicação Social do MEC (61) 2022-7500</p>",
        "<p>E-mail: imprensa@mec.gov.br</p>",
        "<p>Contato: (61) 2022-7500 / imprensa@mec.gov.br</p>",
        "<p>(61) 2022-7500</p>",
        "<p>@mec_oficial | @govbr</p>",
        "<p>Voltar</p><p>Notícias</p><p>facebook.com</p><p>imprensa@mec.gov.br</p>",
        '<p class="section">Educação</p>',
        '<form><input name="q"><button>Buscar</button></form>',
        '<img src="data:image/gif;base64,AA"><img src="/p.gif" width="1" height="1"><img>',
        '<p><a href="/vazio"></a>&nbsp;\u200b</p>',
    ],
)
def test_furniture_goes_and_the_text_stays(furniture: str) -> None:
    assert content(f"{furniture}{TEXT}{furniture}") == PLAIN


@pytest.mark.parametrize(
    "sentence",
    [
        "Dúvidas podem ser enviadas para eventos@mec.gov.br até sexta-feira.",
        "Ligue para o telefone (61) 2022-7500 e agende sua visita ao museu.",
        "A Assessoria de Comunicação do MEC divulgou uma nota sobre o caso.",
        "Assessoria de Comunicação do MEC e prefeitura assinam acordo. O ato foi em Belém.",
        "O edital foi publicado em 05/02/2026 no Diário Oficial da União.",
        "A nova categoria de bolsas foi criada na semana passada.",
        "Compartilhe com a turma: a prova é no domingo, e os portões fecham às 13h.",
        "Acompanhe tudo pelo perfil @mec_oficial e pelo portal do ministério.",
        "Siga as redes sociais do ministério para saber das novidades.",
        "As tags do evento foram as mais usadas do dia.",
    ],
)
def test_a_sentence_with_a_word_of_the_furniture_stays(sentence: str) -> None:
    """Fault 33: rules that went by a word in a text took whole articles away."""
    assert sentence in content(f"<p>{sentence}</p>{TEXT}").replace("\\_", "_")


@pytest.mark.parametrize(
    "name",
    [
        "categoria",
        "noticia-categoria-conteudo",
        "social",
        "comunicacao-social",
        "share-content",
        "tags",
        "portal-content",
        "metadata",
        "keywords",
        "documentByLine",
        "nitfSubtitle",
        "section",
    ],
)
@pytest.mark.parametrize("tag", ["div", "section", "p"])
def test_no_name_of_a_class_takes_an_article_away(tag: str, name: str) -> None:
    """Fault 33: a rule on "categoria" deleted the bodies of a whole agency."""
    body = f"{SENTENCE} " * 4
    inside = f"<p>{body}</p>" if tag != "p" else body
    assert SENTENCE in content(f'<{tag} class="{name}" id="{name}">{inside}</{tag}>')


@pytest.mark.parametrize("name", ["comunicacao-social", "categoria", "portal-content", "section"])
def test_a_part_of_the_text_in_a_block_of_such_a_name_stays(name: str) -> None:
    """Fault 33: too small a part for the shares of the whole text to notice."""
    part = f"{SENTENCE} " * 4
    for block in (f'<div class="{name}"><p>{part}</p></div>', f'<p class="{name}">{part}</p>'):
        found = read(f"{TEXT}{block}")
        assert (found.notes, SENTENCE in (found.content or "")[len(PLAIN) :]) == ((), True)


def test_where_rules_would_take_most_of_the_text_only_the_certain_ones_are_applied() -> None:
    """Fault 33: each paragraph by itself is short enough to be taken for furniture."""
    short = "<p class='tags'>Resultado número {} da lista de aprovados do concurso.</p>"
    found = read("".join(short.format(n) for n in range(12)) + "<p>Fim da lista.</p><p>Publicado em 05/02/2026</p>")
    assert found.notes == ("minimal_cleaning",)
    assert (found.content or "").count("Resultado número") == 12


def test_where_most_lines_are_words_of_navigation_they_stay() -> None:
    lines = "".join(f"<p>{word}</p>" for word in ("Facebook", "Twitter", "Telegram", "LinkedIn", "WhatsApp"))
    found = read(f"<p>{'As redes em que o ministério está, na ordem de seguidores: ' * 2}</p>{lines}")
    assert found.notes == ("lines_kept",)
    assert "Telegram" in (found.content or "")


def test_a_heading_that_is_a_word_of_navigation_stays() -> None:
    assert "Notícias\n--------" in content(f"<h2>Notícias</h2>{TEXT}")


def test_title_lead_and_subtitle_are_taken_out_where_they_are_repeated() -> None:
    known = {"title": "Um título", "lead": "EDUCAÇÃO", "subtitle": "Uma linha fina"}
    html = f"<h1>Um título</h1><p>EDUCAÇÃO</p><div><span>Uma  linha</span> fina</div>{TEXT}"
    assert content(html, **known) == PLAIN


def test_a_first_heading_of_the_editor_s_own_stays() -> None:
    assert content(f"<h1>Programação</h1>{TEXT}", title="Um título").startswith("Programação\n===========")


def test_links_headings_lists_tables_quotes_and_pictures_are_kept() -> None:
    html = f"""{TEXT}<h2>Vagas</h2><h3>Prazos</h3>
    <p>Veja o <a href="/mec/edital.pdf" title="PDF" target="_blank">edital</a>, o
    <a href="mailto:a@mec.gov.br">contato</a> e a <a href="https://www.facebook.com/mec">página</a>;
    <a href="javascript:x()">nada</a>.</p>
    <ul><li>um<ul><li>dentro</li></ul></li><li>dois</li></ul><ol><li>primeiro</li></ol>
    <table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>
    <blockquote><p>Disse ela</p></blockquote><img src="foto.jpg" alt="Uma  foto"><p><b>forte</b> e <i>leve</i></p>
    <iframe src="https://www.youtube.com/embed/x" title="Vídeo"></iframe><video><source src="/v.mp4"></video>"""
    found = content(html)
    for piece in (
        "Vagas\n-----",
        "### Prazos",
        "[edital](https://www.gov.br/mec/edital.pdf)",
        "[contato](mailto:a@mec.gov.br)",
        "[página](https://www.facebook.com/mec)",
        "nada.",
        "* um\n  + dentro\n* dois",
        "1. primeiro",
        "| A | B |\n| --- | --- |\n| 1 | 2 |",
        "> Disse ela",
        "![Uma foto](https://www.gov.br/mec/pt-br/noticias/foto.jpg)",
        "**forte** e *leve*",
        "[Vídeo](https://www.youtube.com/embed/x)",
        "<https://www.gov.br/v.mp4>",
    ):
        assert piece in found


def test_entities_hard_spaces_and_invisible_characters() -> None:
    html = f"<p>S&atilde;o R$&nbsp;1&nbsp;bi &lt;n\u200bovo&gt; &#8220;a\u00adb\ufeff&#8221; 👩\u200d🏫</p>{TEXT}"
    assert content(html).startswith("São R$ 1 bi <novo> “ab” 👩\u200d🏫\n\n")


def test_blank_lines_and_white_space_are_collapsed_and_forced_breaks_kept() -> None:
    found = content(f"<p>um<br>dois<br></p>\n\n\n<div><p> </p><br><br></div>{TEXT}")
    assert found.startswith("um  \ndois\n\nO ministério")
    assert "\n\n\n" not in found


def test_a_picture_that_leads_to_itself_is_just_a_picture() -> None:
    assert content(f'<a href="/f.jpg"><img src="/f.jpg"></a>{TEXT}').startswith("![](https://www.gov.br/f.jpg)\n")
    assert content(f'<a href="/form"><img src="/f.jpg"></a>{TEXT}').startswith("[![](")


@pytest.mark.parametrize("tag", ["div", "span", "b", "blockquote"])
def test_elements_lying_deep_in_one_another_keep_their_text(tag: str) -> None:
    assert SENTENCE in content(f"<{tag}>" * 800 + TEXT)


def test_lines_made_to_be_tried_for_hours_are_not() -> None:
    began = time.process_time()
    lines = ("@aaa " * 30, "11 1111 1111 " * 11 + "x", "tel " * 35 + "x", " e ou - e ou" * 12, "a@" + "b." * 70)
    read("".join(f"<p>{line}</p>" for line in (*lines, "assessoria de " * 10, "compartilhe " * 12 + "x")) + TEXT)
    assert time.process_time() - began < 1
