"""Run Typesense's stand-in in a process of its own; its address is the first line on standard output."""

from __future__ import annotations

from dev.stand_in import serve_apart
from dev.typesense_server.server import TypesenseServer

if __name__ == "__main__":
    serve_apart(TypesenseServer, "dev.typesense_server", __doc__, counted="documents")
