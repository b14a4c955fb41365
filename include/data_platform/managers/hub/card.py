"""The dataset card: the part of README.md's YAML header that is ours, and nothing else.

Ours are the default entry of `configs` (split train, data/train-*) and `dataset_info.features` of the default
configuration. Numbers that go stale (`splits`, `download_size`, `dataset_size`) are taken out: `load_dataset` compares
them with the files and fails. Every other key, its place, its form and the text below stay byte for byte: only the
lines of our two keys are ever written anew, and only if what they say differs.

The list column is described as `sequence: string`, which old and new versions of `datasets` read (FIELD_FACTS §8, 10).
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import yaml

from data_platform.errors import StoreError

__all__ = ["CARD", "STALE_FILES", "edited_card", "features_of"]

CARD = "README.md"
#: Descriptions of the dataset by old versions of `datasets`; they too are compared with the files.
STALE_FILES = ("dataset_info.json", "dataset_infos.json")

_DEFAULT = "default"
_TRAIN = {"split": "train", "path": "data/train-*"}
_STALE_KEYS = ("splits", "download_size", "dataset_size")
_HEADER = re.compile(r"\A(\ufeff?\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
_LOOK = "look at the YAML between the two lines --- at its beginning"


def edited_card(text: str | None, schema: pa.Schema, *, title: str) -> str:
    """Return the card of a dataset with these columns.

    Args:
        text: README.md as it is; None if there is none.
        schema: the columns of the data files.
        title: heading of a card that has to be made.

    Raises:
        StoreError: the header is no YAML, or holds something else than keys there.
    """
    if text is None:
        return f"---\n{_dumped(_wanted({}, schema))}---\n\n# {title}\n"
    found = _HEADER.match(text)
    if found is None:
        return f"---\n{_dumped(_wanted({}, schema))}---\n{text}"
    before, header, rest = found[1], found[2], text[found.start(3) :]
    return before + _edited_header(header, schema) + rest


def features_of(schema: pa.Schema) -> list[dict[str, str]]:
    """Return the columns in the form of `dataset_info.features`."""
    return [
        {"name": field.name, "sequence": str(field.type.value_type)}
        if pa.types.is_list(field.type)
        else {"name": field.name, "dtype": str(field.type)}
        for field in schema
    ]


def _edited_header(header: str, schema: pa.Schema) -> str:
    data = _parsed(header)
    wanted = _wanted(data, schema)
    different = [key for key in wanted if key not in data or data[key] != wanted[key]]
    if not different:
        return header
    newline = "\r\n" if "\r\n" in header else "\n"
    edited = _with_keys(header, {key: wanted[key] for key in different}, newline)
    # Anchors may be used elsewhere, a header may be one flow mapping: what cannot be edited is written anew, whole.
    if edited is None or _safely_parsed(edited) != {**data, **wanted}:
        edited = _dumped({**data, **wanted}).replace("\n", newline)
    return edited


def _parsed(header: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(header)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 2}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise StoreError(f"{CARD} has no valid header{line}: {problem}", hint=_LOOK) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise StoreError(f"{CARD}: its header holds a {type(data).__name__}, not keys with values", hint=_LOOK)
    return data


def _safely_parsed(header: str) -> dict[str, Any] | None:
    try:
        return _parsed(header)
    except StoreError:
        return None


def _with_keys(header: str, keys: dict[str, Any], newline: str) -> str | None:
    """Return the header with some top-level keys written anew, in their places or at the end; None if it cannot be."""
    node = yaml.compose(header, Loader=yaml.SafeLoader)
    if node is None:
        return _ending_in(header, newline) + _dumped(keys).replace("\n", newline)
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        return None
    starts = [key.start_mark.index for key, _ in node.value] + [len(header)]
    out, at = [], 0
    missing = dict(keys)
    for (key, _), start, stop in zip(node.value, starts, starts[1:], strict=False):
        if key.value in missing:
            # Comments and blank lines after it belong to what follows.
            end = start + len(_without_trailing_notes(header[start:stop]))
            out += [header[at:start], _dumped({key.value: missing.pop(key.value)}).replace("\n", newline)]
            at = end
    out.append(header[at:])
    whole = "".join(out)
    return _ending_in(whole, newline) + _dumped(missing).replace("\n", newline) if missing else whole


def _without_trailing_notes(text: str) -> str:
    lines = text.splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    return "".join(lines)


def _ending_in(text: str, newline: str) -> str:
    return text if not text or text.endswith("\n") else text + newline


def _wanted(data: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    return {"configs": _configs(data.get("configs")), "dataset_info": _infos(data.get("dataset_info"), schema)}


def _configs(found: Any) -> list[Any]:  # noqa: ANN401 - parsed YAML
    if found is None:
        return [{"config_name": _DEFAULT, "data_files": [dict(_TRAIN)]}]
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise StoreError(f"{CARD}: `configs` in its header is no list of configurations", hint=_LOOK)
    entries = [dict(entry) for entry in found]
    ours = next((e for e in entries if e.get("config_name", _DEFAULT) == _DEFAULT), None)
    if ours is None:
        return [{"config_name": _DEFAULT, "data_files": [dict(_TRAIN)]}, *entries]
    ours.setdefault("config_name", _DEFAULT)
    ours["data_files"] = _data_files(ours.get("data_files"))
    return entries


def _data_files(found: Any) -> list[Any]:  # noqa: ANN401 - parsed YAML
    """Return the files of the splits; splits that are not ours stay."""
    if not isinstance(found, list) or not all(isinstance(entry, dict) and "split" in entry for entry in found):
        return [dict(_TRAIN)]
    if not any(entry["split"] == "train" for entry in found):
        return [dict(_TRAIN), *found]
    return [dict(_TRAIN) if entry["split"] == "train" else entry for entry in found]


def _infos(found: Any, schema: pa.Schema) -> Any:  # noqa: ANN401 - parsed YAML
    if isinstance(found, list):
        if not all(isinstance(entry, dict) for entry in found):
            raise StoreError(f"{CARD}: `dataset_info` in its header is no list of descriptions", hint=_LOOK)
        ours = next((e for e in found if e.get("config_name", _DEFAULT) == _DEFAULT), None)
        if ours is None:
            return [{"config_name": _DEFAULT, **_info({}, schema)}, *found]
        return [_info(entry, schema) if entry is ours else entry for entry in found]
    if found is not None and not isinstance(found, dict):
        raise StoreError(f"{CARD}: `dataset_info` in its header is no description", hint=_LOOK)
    if found and found.get("config_name", _DEFAULT) != _DEFAULT:
        return [{"config_name": _DEFAULT, **_info({}, schema)}, found]
    return _info(found or {}, schema)


def _info(found: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    kept = {key: value for key, value in found.items() if key not in _STALE_KEYS}
    return kept | {"features": features_of(schema)}


def _dumped(data: dict[str, Any]) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000))
