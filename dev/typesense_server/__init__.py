"""A stand-in for Typesense on loopback: collections, aliases, documents, import, export, search; in memory.

Behaves as PLATFORM_FACTS Part 2 §2 tells of the real one (27.1 is what is in use), its failures included: an import is
answered with 200 and a line per document, whatever became of them.

    with TypesenseServer(keys=["key"]) as server:
        client = typesense.Client({"nodes": [server.node], "api_key": "key"})

Not modelled: ranking, typing errors, highlights, stemming, synonyms, vectors, joins, geography. A search for words
finds the documents that have all of them, the last one as a beginning, and sorts by `sort_by` or the default sorting
field. Facets of a grouped search count documents.

Faults: `not_ready`, `out_of`, `fail_documents`, or any `Fault` on "METHOD /path" in `faults`. With `is_sink=True`
documents are counted, not read and not kept; `python -m dev.typesense_server --sink` does so in a process of its own.
"""

from dev.stand_in import Fault
from dev.typesense_server.server import TypesenseServer
from dev.typesense_server.store import Collection, FailingDocument, TypesenseStore

__all__ = ["Collection", "FailingDocument", "Fault", "TypesenseServer", "TypesenseStore"]
