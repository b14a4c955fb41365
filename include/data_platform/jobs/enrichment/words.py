"""Portuguese words as a ranking compares them: without case, accents and endings."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["stem", "stems"]

_WORD = re.compile(r"[a-z]{2,}")
#: A stem keeps this many letters at least.
_SHORTEST = 4
#: Words that say nothing of a theme, without accents.
_STOP_WORDS = """
    a ao aos aquela aquele aqueles as ate com como da das de dela dele deles depois do dos e ela elas ele eles em entre
    era essa essas esse esses esta estao estas este estes eu foi foram ha isso isto ja la lhe mais mas mesmo meu minha
    muito na nas nao nem no nos nossa nosso num numa o os ou para pela pelas pelo pelos por qual quando que quem sao se
    seja sem ser sera seu seus so sob sobre sua suas tambem tem tendo ter teve toda todas todo todos tres um uma uns vai
    ainda alem apos antes cada cerca conta contra desde disse durante enquanto porque segundo onde outra outras outro
    outros pode podem ano anos dia dias mes hoje ontem nesta neste nessa nesse desta deste dessa desse feira janeiro
    fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro segunda terca quarta quinta sexta
    sabado domingo hora horas ultimo ultima proximo proxima novo nova novos novas grande primeiro primeira geral parte
    meio forma nacional brasil brasileiro brasileira brasileiros brasileiras federal governo gov br ministerio ministro
    ministra presidente secretaria secretario www http https foto fotos imagem leia saiba veja confira clique aqui png
    jpg jpeg images site portal noticia noticias
"""
_STOP = frozenset(_STOP_WORDS.split())
#: Endings by which words of one family differ, the longest first.
_ENDING_LIST = """
    izacoes izacao acoes acao icoes icao coes cao soes sao mentos mento mente idades idade ancias ancia encias
    encia istas ista ismos ismo arios arias ario aria orios oria orias orio ivos ivas ivo iva icos icas ico ica
    ares ais eis ois ores oras ura uras ador adora adores antes ante entes ente veis vel ados adas ado ada idos
    idas ido ida iais ial ias ia ando endo indo ar er ir al el or as os es a e o i s
"""
_ENDINGS = tuple(sorted(_ENDING_LIST.split(), key=lambda ending: (-len(ending), ending)))


def stems(text: str) -> list[str]:
    """Return the stems of the words of a text, in its order, without words that say nothing."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return [stem(word) for word in _WORD.findall(plain) if word not in _STOP]


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return what a word of plain lower-case letters has in common with others of its family, roughly.

    Endings are taken off, one of them, while four letters stay: "esportes", "esportivo" and "esporte" become "esport".
    """
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST:
            return word[: len(word) - len(ending)]
    return word
