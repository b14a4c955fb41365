"""Cogfy, whose models write themes and summaries, through an Airflow connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from govbr.connections import COGFY_CONNECTION, environment_settings, with_connections
from govbr.hooks.examined import Examined, examine

if TYPE_CHECKING:
    from data_platform.jobs.enrichment.cogfy_client import CogfyClient
    from data_platform.settings import Settings

__all__ = ["CogfyHook"]

#: Cells that its models must fill, and those without which themes stay at the first level.
_NEEDED, _WISHED = ("theme_1_level_1", "summary"), ("theme_1_level_2", "theme_1_level_3")


class CogfyHook(BaseHook):
    """Gives a client of Cogfy for a connection of Airflow.

    Connection, of the stock type **generic** (all values are stripped of white space):

    * Password: the API key; kept out of logs.
    * Host: address of the server; `https://api.cogfy.com/` if empty.
    * Extra: `{"collection": "name"}` or `{"collection_id": "id"}`. There is no default: records are written there.
    * Login, Schema, Port: leave empty.

    Without the connection, and for what it leaves empty, the environment speaks: `COGFY_API_KEY`, `COGFY_SERVER_URL`,
    `COGFY_COLLECTION_NAME`, `COGFY_COLLECTION_ID`.

    Args:
        cogfy_conn_id: the connection.
    """

    conn_name_attr = "cogfy_conn_id"
    default_conn_name = COGFY_CONNECTION
    conn_type = "generic"
    hook_name = "Cogfy"

    def __init__(self, cogfy_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.cogfy_conn_id = cogfy_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form of a connection type of its own would look; the stock type shows all fields."""
        return {
            "hidden_fields": ["login", "port", "schema"],
            "relabeling": {"host": "Server", "password": "API key"},
            "placeholders": {"host": "https://api.cogfy.com/", "extra": '{"collection": "noticiasgovbr-all-news"}'},
        }

    def get_settings(self) -> Settings:
        """Return the settings with this connection's Cogfy.

        Raises:
            ConfigurationError: the connection cannot be read.
        """
        return with_connections(environment_settings(with_postgres=False), cogfy=self.cogfy_conn_id)

    def get_client(self) -> CogfyClient:
        """Return a client; close it after use.

        Raises:
            ConfigurationError: neither connection nor environment has a key.
        """
        from data_platform.jobs.enrichment.cogfy_client import CogfyClient

        return CogfyClient(self.get_settings())

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the collection and its fields; return whether it can be used, and a message."""
        found = self.examine()
        return found.ok, found.message

    def examine(self) -> Examined:
        """Return what `test_connection` tells. Whether records can be added is not tried: they would stay there."""
        return examine(self.get_settings, _look)


def _look(settings: Settings) -> Examined:
    from data_platform.jobs.enrichment.cogfy_client import CogfyClient
    from data_platform.managers.hub.session import Backoff

    client = CogfyClient(settings, backoff=Backoff(tries=1))
    try:
        collection = client.find_collection(
            name=settings.cogfy_collection_name, collection_id=settings.cogfy_collection_id
        )
        its_id = str(collection["id"])
        fields, records = client.fields(its_id), client.count(its_id)
    finally:
        client.close()
    place = (
        f"{client.service}: collection {collection.get('name') or its_id!r}, {len(fields)} fields, {records} records"
    )
    missing = [name for name in (*_NEEDED, *_WISHED) if name not in fields]
    without = f"; without the fields {', '.join(missing)}" if missing else ""
    return Examined(ok=not set(_NEEDED) & set(missing), message=place + without)
