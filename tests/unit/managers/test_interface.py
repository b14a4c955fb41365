"""The account of a write."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from data_platform.errors import IntegrityError
from data_platform.managers.interface import WriteOutcome

FULL = {"given": 15, "inserted": 1, "updated": 2, "unchanged": 3, "duplicates": 4, "rejected": 5}


@pytest.mark.parametrize("name", list(FULL))
def test_an_account_that_does_not_add_up_is_refused(name: str) -> None:
    whole = WriteOutcome(**FULL)  # type: ignore[arg-type]
    assert whole.checked("the store") is whole
    with pytest.raises(IntegrityError, match="the store: rows do not add up"):
        WriteOutcome(**FULL | {name: FULL[name] + 1}).checked("the store")  # type: ignore[arg-type]


def test_an_account_can_be_written_as_json() -> None:
    outcome = WriteOutcome(rejected_by_reason=Counter(title_missing=2), written=("a",), ids={"b": "a"})
    told = json.loads(json.dumps(outcome.to_dict()))
    assert told["rejected_by_reason"] == {"title_missing": 2}
    assert (told["written"], told["ids"]) == (["a"], {"b": "a"})
