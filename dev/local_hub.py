"""The stand-in of the Hub as the local stack has it: a made-up corpus as a dataset, and an empty reduced one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dev.hub_server import HubServer, HubStore

__all__ = ["DATASET", "local_hub"]

DATASET = "demo/govbrnews"
_REDUCED = f"{DATASET}-reduced"
_TOKEN = "hf_of_the_local_stack"  # noqa: S105 - opens nothing but this stand-in
_CARD = """---
license: cc-by-4.0
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
---

# Made-up news

In the layout of the published dataset; served by the local stack.
"""


@contextmanager
def local_hub(folder: Path, corpus: Path) -> Iterator[Mapping[str, str]]:
    """Serve a corpus as the dataset `DATASET`, and give the environment in which it is found.

    Args:
        folder: where repositories and the client's cache are kept; a dataset that is there already is left as it is.
        corpus: a folder with `data/train-*.parquet`.
    """
    store = HubStore(folder / "repositories")
    if store.repo(DATASET) is None:
        for dataset in (DATASET, _REDUCED):
            store.create(dataset)
        files: dict[str, bytes | Path] = {f"data/{path.name}": path for path in sorted(corpus.glob("data/*.parquet"))}
        store.commit(DATASET, {"README.md": _CARD.encode(), **files}, title="Made-up news")
    with HubServer(store, tokens=[_TOKEN]) as server:
        yield {
            "HF_DATASET": DATASET,
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(folder / "client"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "",
            "HF_REDUCED_DATASET": _REDUCED,
            "HF_TOKEN": _TOKEN,
        }
