"""A stand-in for Qdrant on loopback: its REST API over the local engine that the client brings along.

What the local engine leaves out is here: the errors of a server, dimensions that are checked, payload indexes,
settings of the index and of the optimizer, an aliases call that is carried out whole or not at all, API keys.

    with QdrantServer(keys=["key"]) as server:
        client = QdrantClient(url=server.url, api_key="key")

Not modelled: approximate search (every search is exact), shards and replicas, snapshots, gRPC. The engine's speed falls
with the number of points, so keep below some 50,000.

Faults: any `Fault` on "METHOD /path" in `faults`. With `is_sink=True` points are counted, not read and not kept;
`python -m dev.qdrant_server --sink` does so in a process of its own.
"""

from dev.qdrant_server.server import QdrantServer
from dev.qdrant_server.store import QdrantStore
from dev.stand_in import Fault

__all__ = ["Fault", "QdrantServer", "QdrantStore"]
