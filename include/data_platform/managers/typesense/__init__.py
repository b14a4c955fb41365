"""Search in Typesense: requests to it, its collections, what an import answers."""
