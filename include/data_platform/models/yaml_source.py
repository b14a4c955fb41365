"""Read a YAML source of master data: a file or a web address, with nothing lost on the way.

PyYAML keeps the last of two equal keys without a word, so a catalogue with an agency written twice
would lose one of them; the loader here refuses that.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from data_platform.errors import SourceError, SourceUnavailableError

__all__ = ["display_source", "load_yaml", "read_text"]

_TIMEOUT_SECONDS = 30.0
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
#: How web pages begin, and how no YAML of ours does.
_HTML = re.compile(r"\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
_HTML_HINT = "if it is an address of GitHub, give the one of the raw file; if it needs a login, download it first"
_MERGE_TAG = "tag:yaml.org,2002:merge"
#: Answers that say "not now" rather than "not at all".
_TRY_LATER = frozenset({408, 425, 429})
_HTTP_ERROR = 400
_HTTP_SERVER_ERROR = 500


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a mapping in which a key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        # Looked at before `<<` is expanded: a key may repeat one that it merges in, that is what merging is for.
        lines: dict[Hashable, int] = {}
        if isinstance(node, yaml.MappingNode):
            for key_node, _ in node.value:
                if key_node.tag == _MERGE_TAG:
                    continue
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, Hashable):
                    continue  # the parent class refuses it with its own message
                line = key_node.start_mark.line + 1
                if key in lines:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} stands twice, first on line {lines[key]}", key_node.start_mark
                    )
                lines[key] = line
        return super().construct_mapping(node, deep=deep)


def load_yaml(text: str, *, origin: str) -> Any:
    """Return what one YAML document says.

    Args:
        text: the document.
        origin: where it came from, for messages.

    Raises:
        SourceError: it is empty, is not YAML, holds several documents or has a key twice; the message names the line.
    """
    try:
        document = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SourceError(f"{origin}{where}: {error.problem or error.context or 'not YAML'}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SourceError(
            f"{origin}, line {line}: the character U+{_code_point(error):04X} may not stand in YAML"
        ) from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML lets these through for an impossible date, a wrong explicit tag or a thousand nested brackets.
        raise SourceError(f"{origin} is not YAML that can be read: {error!r}") from error
    if document is None:
        raise SourceError(f"{origin} is empty")
    return document


def read_text(source: str, *, what: str) -> str:
    """Return the text of a local file or of an http(s) address, decoded as UTF-8, without a byte order mark.

    Args:
        source: a path or a URL.
        what: what the text is for, such as "agencies", for messages.

    Raises:
        SourceUnavailableError: the network or the server failed; later it may work.
        SourceError: there is no such file or page, it may not be read, it is not UTF-8, or it is an HTML page.
    """
    name = f"{what}: {display_source(source)}"
    scheme = _SCHEME.match(source)
    if scheme is None:
        raw, is_html = _read_file(source, name), False
    elif scheme.group(1).lower() in {"http", "https"}:
        raw, is_html = _fetch(source, name)
    else:
        raise SourceError(
            f"{name} has the scheme {scheme.group(1)!r}, which cannot be read",
            hint="give a path of this machine or an http(s) address",
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 (byte {error.start})", hint="save it as UTF-8") from error
    if is_html or _HTML.match(text):
        raise SourceError(f"{name} is an HTML page, not YAML", hint=_HTML_HINT)
    return text


def display_source(source: str) -> str:
    """Return the source as it may stand in a log: of a URL neither user, password, query nor fragment."""
    if not _SCHEME.match(source):
        return source
    try:
        parts = urlsplit(source)
    except ValueError:
        return "(an address that cannot be parsed)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _code_point(error: yaml.reader.ReaderError) -> int:
    # PyYAML hands over the character for text and its number for bytes.
    character: object = error.character
    return character if isinstance(character, int) else ord(str(character))


def _read_file(source: str, name: str) -> bytes:
    try:
        return Path(source).expanduser().read_bytes()
    except FileNotFoundError as error:
        raise SourceError(f"{name} does not exist", hint="a relative path starts at the working directory") from error
    except IsADirectoryError as error:
        raise SourceError(f"{name} is a folder, not a file") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: `~user` of nobody
        raise SourceError(f"{name} cannot be read: {error}") from error


def _fetch(url: str, name: str) -> tuple[bytes, bool]:
    """Return the bytes behind an address, and whether the server calls them HTML."""
    import httpx

    try:
        response = httpx.get(url, follow_redirects=True, timeout=_TIMEOUT_SECONDS)
    except httpx.UnsupportedProtocol as error:
        raise SourceError(f"{name} leads to an address that is not http(s)") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise SourceUnavailableError(f"{name} did not answer: {type(error).__name__}: {error}") from error
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise SourceError(f"{name} cannot be fetched: {type(error).__name__}: {error}") from error
    status = response.status_code
    if status >= _HTTP_SERVER_ERROR or status in _TRY_LATER:
        raise SourceUnavailableError(f"{name} answered {status} {response.reason_phrase}")
    if status >= _HTTP_ERROR:
        raise SourceError(
            f"{name} answered {status} {response.reason_phrase}",
            hint="check the address, and that it can be read without a login",
        )
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return response.content, content_type in {"text/html", "application/xhtml+xml"}
