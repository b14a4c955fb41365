"""Run Typesense's stand-in in a process of its own; its address is the first line on standard output."""

from __future__ import annotations

import argparse
import threading

from dev.typesense_server.server import TypesenseServer


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m dev.typesense_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--key", default="key", help="the key that may do everything")
    parser.add_argument("--sink", action="store_true", help="count documents and do not keep them")
    told = parser.parse_args()
    with TypesenseServer(keys=[told.key], port=told.port, is_sink=told.sink) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
