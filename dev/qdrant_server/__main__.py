"""Run Qdrant's stand-in in a process of its own; its address is the first line on standard output."""

from __future__ import annotations

from dev.qdrant_server.server import QdrantServer
from dev.stand_in import serve_apart

if __name__ == "__main__":
    serve_apart(QdrantServer, "dev.qdrant_server", __doc__, counted="points")
