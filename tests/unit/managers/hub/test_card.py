"""What becomes of README.md: our two keys are right, and nobody else's change."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.errors import StoreError
from data_platform.managers.hub.card import edited_card, features_of
from data_platform.managers.hub.layout import REDUCED_SCHEMA
from data_platform.models.columns import COLUMN_NAMES, PUBLISHED_SCHEMA

#: As the first full push wrote it (FIELD_FACTS §1.1), with things of other people.
LEGACY = """---
# Dados abertos
license: cc-by-4.0   # aberta
tags:
- "news"
-   'gov.br'
dataset_info:
  features:
  - name: unique_id
    dtype: string
  - name: tags
    list: string
  splits:
  - name: train
    num_bytes: 1893240
    num_examples: 303539
  download_size: 100
  dataset_size: 200
  homepage: https://example.org

# o que segue é nosso
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-00000*
- config_name: amostra
  data_files: sample/*.parquet
pretty_name: Notícias   do governo
size_categories: [100K<n<1M]
---

# GovBR News

Texto com ---
e mais.
"""


def header(text: str) -> dict[str, object]:
    return dict(yaml.safe_load(text.split("---\n")[1]))


def edited(text: str | None) -> str:
    return edited_card(text, PUBLISHED_SCHEMA, title="govbrnews")


def test_our_keys_are_right_and_stale_numbers_gone() -> None:
    data = header(edited(LEGACY))
    info = data["dataset_info"]
    assert isinstance(info, dict)
    assert set(info) == {"features", "homepage"}
    assert [feature["name"] for feature in info["features"]] == list(COLUMN_NAMES)
    assert data["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]},
        {"config_name": "amostra", "data_files": "sample/*.parquet"},
    ]


def test_what_is_not_ours_stays_byte_for_byte() -> None:
    before, after = LEGACY, edited(LEGACY)
    for part in (
        "---\n# Dados abertos\nlicense: cc-by-4.0   # aberta\ntags:\n- \"news\"\n-   'gov.br'\ndataset_info:\n",
        "\n\n# o que segue é nosso\nconfigs:\n",
        "pretty_name: Notícias   do governo\nsize_categories: [100K<n<1M]\n---\n\n# GovBR News\n\n",
        "Texto com ---\ne mais.\n",
    ):
        assert part in before
        assert part in after


def test_an_edited_card_needs_no_other_edit() -> None:
    assert edited(edited(LEGACY)) == edited(LEGACY)
    assert edited(edited(None)) == edited(None)


def test_a_right_card_in_another_form_is_left_alone() -> None:
    features = ", ".join(
        "{" + ", ".join(f"{k}: '{v}'" for k, v in f.items()) + "}" for f in features_of(REDUCED_SCHEMA)
    )
    card = (
        f"---\ndataset_info: {{features: [{features}]}}\n"
        "configs: [{config_name: default, data_files: [{split: train, path: 'data/train-*'}]}]\n---\ntext"
    )
    assert edited_card(card, REDUCED_SCHEMA, title="x") == card


def test_features_have_the_types_that_datasets_reads() -> None:
    from datasets import Features

    features = features_of(PUBLISHED_SCHEMA)
    assert {"name": "tags", "sequence": "string"} in features
    assert Features._from_yaml_list(features).arrow_schema.equals(PUBLISHED_SCHEMA, check_metadata=False)


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("---\na: [1\nb: 2\n---\n", "README.md has no valid header in line 3"),
        ("---\n- a\n- b\n---\n", "holds a list"),
        ("---\nconfigs: 3\n---\n", "`configs` in its header"),
        ("---\ndataset_info: 3\n---\n", "`dataset_info` in its header"),
        ("---\ndataset_info: [3]\n---\n", "`dataset_info` in its header"),
    ],
)
def test_a_broken_header_is_named(card: str, told: str) -> None:
    with pytest.raises(StoreError) as caught:
        edited(card)
    assert told in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "card",
    ["", "no header", "---\n---\nempty header", "# title\n\n---\n\nrule", "---\n\n---\n", "---\nlicense: mit\n---"],
)
def test_a_card_without_our_keys_gets_them_before_its_text(card: str) -> None:
    after = edited(card)
    data = yaml.safe_load(after.removeprefix("---\n").partition("---")[0])
    assert set(data) >= {"configs", "dataset_info"}
    assert after.endswith(card.removeprefix("---\n").partition("---")[2] if card.startswith("---\n") else card)


def test_windows_line_ends_stay() -> None:
    after = edited(LEGACY.replace("\n", "\r\n"))
    assert "\n" not in after.replace("\r\n", "")
    assert after.replace("\r\n", "\n") == edited(LEGACY)


def test_other_configurations_and_splits_stay() -> None:
    card = """---
dataset_info:
- config_name: amostra
  features: []
  download_size: 3
configs:
- config_name: amostra
  data_files: x.parquet
- config_name: default
  default: true
  data_files:
  - split: test
    path: data/test-*
  - split: train
    path: [data/a, data/b]
---
"""
    data = header(edited(card))
    assert data["dataset_info"][1] == {"config_name": "amostra", "features": [], "download_size": 3}  # type: ignore[index]
    assert data["configs"] == [
        {"config_name": "amostra", "data_files": "x.parquet"},
        {
            "config_name": "default",
            "default": True,
            "data_files": [{"split": "test", "path": "data/test-*"}, {"split": "train", "path": "data/train-*"}],
        },
    ]


def test_an_alias_of_another_key_into_ours_survives() -> None:
    card = "---\ndataset_info:\n  features: &f [{name: a, dtype: string}]\nmine: *f\nlicense: mit\n---\nrest"
    data = header(edited(card))
    assert data["mine"] == [{"name": "a", "dtype": "string"}]
    assert data["license"] == "mit"


_KEYS = st.dictionaries(
    st.text("abcdefgh_", min_size=1, max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("aZé ç#:-'\"", max_size=8) | st.dates(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=50)
@given(keys=_KEYS, body=st.text(max_size=30), flow=st.booleans(), ours=st.booleans())
def test_any_other_keys_and_text_survive(keys: dict[str, object], body: str, flow: bool, ours: bool) -> None:
    if ours:
        keys = {**keys, "dataset_info": {"splits": [], "features": []}, "zzz": 1}
    head = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True, default_flow_style=flow) if keys else ""
    card = f"---\n{head}---\n{body}"
    after = edited(card)
    assert after.endswith(f"---\n{body}")
    data = yaml.safe_load(after[4 : len(after) - len(f"---\n{body}")])
    assert {key: value for key, value in data.items() if key not in {"configs", "dataset_info"}} == {
        key: value for key, value in keys.items() if key != "dataset_info"
    }
    assert edited(after) == after
