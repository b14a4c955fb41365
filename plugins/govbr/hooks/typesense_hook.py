"""The index of news in Typesense, through an Airflow connection."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from govbr.connections import TYPESENSE_CONNECTION, environment_settings, with_connections
from govbr.hooks.examined import Examined, collection_in_words, examine

if TYPE_CHECKING:
    from data_platform.managers.typesense.index import TypesenseIndex
    from data_platform.settings import Settings

__all__ = ["TypesenseHook"]

#: The longest silence that a test bears, in seconds.
_TIMEOUT_S = 30.0


class TypesenseHook(BaseHook):
    """Gives the index of news in Typesense for a connection of Airflow.

    Connection, of the stock type **generic** (all values are stripped of white space):

    * Host: name or address, or all of it as `https://name:port`.
    * Port: if the host has none; 8108, behind https 443.
    * Schema: `http` or `https`, if the host does not say it; `http` if empty, save with port 443.
    * Password: a key that may write, make and drop collections; kept out of logs.
    * Extra: `{"collection": "news"}`, the alias that searches use.
    * Login: leave empty.

    Without the connection, and for what it leaves empty, the environment speaks: `TYPESENSE_HOST`, `_PORT`,
    `_PROTOCOL`, `_API_KEY`, `_COLLECTION`, or `TYPESENSE_WRITE_CONN`. A host that is named here has its port and
    protocol from here, too.

    Args:
        typesense_conn_id: the connection.
    """

    conn_name_attr = "typesense_conn_id"
    default_conn_name = TYPESENSE_CONNECTION
    conn_type = "generic"
    hook_name = "Typesense"

    def __init__(self, typesense_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.typesense_conn_id = typesense_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form of a connection type of its own would look; the stock type shows all fields."""
        return {
            "hidden_fields": ["login"],
            "relabeling": {"password": "API key", "schema": "Protocol"},
            "placeholders": {"host": "https://name:port", "extra": '{"collection": "news"}'},
        }

    def get_settings(self) -> Settings:
        """Return the settings with this connection's Typesense.

        Raises:
            ConfigurationError: the connection cannot be read.
        """
        settings = environment_settings(with_postgres=False, services=["typesense"])
        return with_connections(settings, typesense=self.typesense_conn_id)

    def get_index(self, *, replace_collection: bool = False) -> TypesenseIndex:
        """Return the index; close it after use.

        Args:
            replace_collection: whether a collection that has the alias's own name may be dropped for the alias.

        Raises:
            ConfigurationError: neither connection nor environment names a host, or it has no key.
        """
        from data_platform.managers.typesense.index import TypesenseIndex

        return TypesenseIndex.of(self.get_settings(), replace_collection=replace_collection)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the server how it is and what searches see; return whether it can be used, and a message."""
        found = self.examine()
        return found.ok, found.message

    def examine(self) -> Examined:
        """Return what `test_connection` tells. Whether documents can be written is not tried."""
        return examine(self.get_settings, _look)


def _look(settings: Settings) -> Examined:
    from data_platform.managers.hub.session import Backoff
    from data_platform.managers.typesense.index import TypesenseIndex
    from data_platform.managers.typesense.session import TypesenseSession

    once: dict[str, Any] = {"backoff": Backoff(tries=1), "patience": Backoff(tries=1), "answer_s": _TIMEOUT_S}
    with closing(TypesenseSession(settings, **once)) as session:
        health = session.json("GET", "health")  # asks for no key
        version = session.json("GET", "debug").get("version") or "of unknown version"
        told = f"{session}: version {version}"
    short_of = str(health.get("resource_error") or "")
    if short_of:
        told += f", WRITES NOTHING: {short_of}"
    with closing(TypesenseIndex.of(settings, **once)) as index:
        told += f"; {collection_in_words(index)}"
    return Examined(ok=not short_of, message=told)
