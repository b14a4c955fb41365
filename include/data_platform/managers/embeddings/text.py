"""The text of an article that is embedded (FIELD_FACTS §10), and what it is known by."""

from __future__ import annotations

from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["MOST_CHARACTERS", "embedded_texts", "text_hashes"]

#: Of a text in all, and of an article's content if it has no summary; in Unicode characters.
MOST_CHARACTERS, _OF_CONTENT = 2_048, 500
_HASH_BYTES = 16


def embedded_texts(rows: pa.RecordBatch) -> pa.Array:
    """Return the text of each row: title, a space, and the summary or else the beginning of the content.

    Args:
        rows: with the columns title, which is never null, summary and content.

    Returns:
        Strings without nulls, of at most 2,048 characters.
    """
    beginning = pc.utf8_slice_codeunits(rows.column("content"), 0, _OF_CONTENT)
    told = pc.coalesce(_unless_blank(rows.column("summary")), _unless_blank(beginning))
    # A part that is missing takes its space along.
    text = pc.binary_join_element_wise(rows.column("title"), told, " ", null_handling="skip")
    return pc.utf8_slice_codeunits(text, 0, MOST_CHARACTERS)


def text_hashes(texts: pa.Array) -> list[str]:
    """Return what each text is known by: BLAKE2b of its UTF-8, 16 bytes in hexadecimal."""
    return [blake2b(text.encode(), digest_size=_HASH_BYTES).hexdigest() for text in texts.to_pylist()]


def _unless_blank(texts: pa.Array) -> pa.Array:
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
    return pc.if_else(blank, pa.scalar(None, pa.string()), texts)
