"""A stand-in for Cogfy on loopback: collections, fields, records, and models that fill cells after a while.

Speaks what FIELD_FACTS §6 tells of the real one, its failures included: a bare filter is answered with 400, large pages
and wide windows with 502 or 504, records of one article may stand there twice, and a model may write anything.

    store = CogfyStore(answers)
    collection = store.create_collection("news", options=["01 - Economia e Finanças", …])
    with CogfyServer(store, keys=["secret"]) as server:
        httpx.get(f"{server.url}collections", headers={"Api-Key": "secret"}, params={"pageNumber": 0})

Faults can be planted on demand: those of the store and the server by their attributes, any other as a `Fault` on
"METHOD /path".
"""

from dev.cogfy_server.server import CogfyServer
from dev.cogfy_server.store import Answer, CogfyStore, Collection
from dev.stand_in import Fault

__all__ = ["Answer", "CogfyServer", "CogfyStore", "Collection", "Fault"]
