"""What Typesense answers to an import: one line a document, in their order, each to be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from data_platform.errors import StoreUnavailableError
from data_platform.managers.search_index import Failed
from data_platform.managers.typesense.session import out_of_room

__all__ = ["read_answer"]

_TAKEN = b'{"success":true}'
_OUT_OF_ROOM = ("OUT_OF_DISK", "OUT_OF_MEMORY", "running out of resource")
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_MOST_WORDS = 300


def read_answer(where: str, answer: bytes, unique_ids: Sequence[str]) -> list[Failed]:
    """Return the documents that an import refused.

    Args:
        where: what was asked, for messages.
        answer: as it came.
        unique_ids: of the documents in the order in which they were sent.

    Raises:
        StoreUnavailableError: there are not as many lines as documents, or one is no answer: it was cut off.
        StoreError: the server has no memory or disk left.
    """
    lines = answer.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if len(lines) != len(unique_ids):
        raise StoreUnavailableError(
            f"{where}: {len(unique_ids)} documents were sent, {len(lines)} lines were answered",
            hint="nothing is known of the others: they are sent again",
        )
    failed = []
    for unique_id, line in zip(unique_ids, lines, strict=True):
        if line == _TAKEN:
            continue
        told = _read(where, line)
        if told.get("success") is not True:
            failed.append(_failed(where, unique_id, told))
    return failed


def _read(where: str, line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("success"), bool):
        raise StoreUnavailableError(
            f"{where}: a line of the answer is none: {line[:_MOST_WORDS]!r}", hint="the documents are sent again"
        )
    return told


def _failed(where: str, unique_id: str, told: dict[str, Any]) -> Failed:
    words, code = str(told.get("error", "no reason given"))[:_MOST_WORDS], told.get("code", 0)
    if any(sign in words for sign in _OUT_OF_ROOM):
        raise out_of_room(where, f": {words}")
    later = isinstance(code, int) and (code in _LATER or code >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return Failed(unique_id, f"{code}: {words}" if code else words, is_transient=later)
