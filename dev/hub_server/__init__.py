"""A stand-in for the HuggingFace Hub on loopback: datasets on disk, immutable commits, reading and writing.

Speaks what the real huggingface_hub and datasets clients ask when they describe, read and write a dataset. Faults
can be planted on demand, see `Fault`. One server process is one Hub: it linearises its writers, and another one
started later on the same folder goes on where it ended.

    store = HubStore(folder)
    store.create("owner/name")
    store.commit("owner/name", {"data/train-0.parquet": some_bytes})
    with HubServer(store, tokens={"secret": Token("ana", "write")}) as server:
        HfApi(endpoint=server.url, token="secret").create_commit("owner/name", ...)

Large files go through Git LFS, to a client with HF_HUB_DISABLE_XET=1 in its environment before huggingface_hub is
imported; or through Xet, to a client without it and a server with `xet=True`.
"""

from dev.http_faults import Fault
from dev.hub_server.server import HubServer
from dev.hub_server.store import HubStore
from dev.hub_server.tokens import Token

__all__ = ["Fault", "HubServer", "HubStore", "Token"]
