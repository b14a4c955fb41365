"""The service that turns texts into vectors, through an Airflow connection."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from govbr.connections import EMBEDDINGS_CONNECTION, environment_settings, with_connections
from govbr.hooks.examined import Examined, examine

if TYPE_CHECKING:
    from data_platform.managers.embeddings.interface import Embedder
    from data_platform.settings import Settings

__all__ = ["EmbeddingsHook"]


class EmbeddingsHook(BaseHook):
    """Gives the embedder for a connection of Airflow.

    Connection, of the stock type **generic** (all values are stripped of white space):

    * Host: address of the service, such as `https://name`.
    * Port, Schema: if the host does not say them.
    * Password: the key; kept out of logs. Empty if it asks for none.
    * Extra: `{"kind": "openai", "model": "name", "dimension": 768}`; the kind is `openai` for `/v1/embeddings`,
      `generate` for the team's `/generate`, or `hashing`, which needs no service and knows words only.
    * Login: leave empty.

    Without the connection, and for what it leaves empty, the environment speaks: `EMBEDDINGS_API_URL`, `_API_KEY`,
    `_API_KIND`, `EMBEDDINGS_MODEL`, `EMBEDDINGS_DIMENSION`. Where nothing is set, words are hashed.

    Args:
        embeddings_conn_id: the connection.
    """

    conn_name_attr = "embeddings_conn_id"
    default_conn_name = EMBEDDINGS_CONNECTION
    conn_type = "generic"
    hook_name = "Embeddings"

    def __init__(self, embeddings_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.embeddings_conn_id = embeddings_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form of a connection type of its own would look; the stock type shows all fields."""
        return {
            "hidden_fields": ["login"],
            "relabeling": {"host": "Address", "password": "API key"},
            "placeholders": {
                "host": "https://name",
                "extra": '{"kind": "openai", "model": "name", "dimension": 768}',
            },
        }

    def get_settings(self) -> Settings:
        """Return the settings with this connection's service.

        Raises:
            ConfigurationError: the connection cannot be read.
        """
        settings = environment_settings(with_postgres=False, services=["embeddings"])
        return with_connections(settings, embeddings=self.embeddings_conn_id)

    def get_embedder(self) -> Embedder:
        """Return the embedder; close it after use.

        Raises:
            ConfigurationError: the kind is none, or something that it needs is not set.
        """
        from data_platform.managers.embeddings.choose import choose_embedder

        return choose_embedder(self.get_settings())

    def test_connection(self) -> tuple[bool, str]:
        """Have one text embedded; return whether that works, and a message."""
        found = self.examine()
        return found.ok, found.message

    def examine(self) -> Examined:
        """Return what `test_connection` tells. A service that was asleep may take minutes, or say 503 at first."""
        return examine(self.get_settings, _look)


def _look(settings: Settings) -> Examined:
    from data_platform.managers.embeddings.choose import choose_embedder
    from data_platform.managers.embeddings.interface import HARMLESS
    from data_platform.managers.hub.session import Backoff

    with closing(choose_embedder(settings, backoff=Backoff(tries=1))) as embedder:
        embedded = embedder.embed([HARMLESS])
        told = f"model {embedder.model}, {embedder.dimension} numbers"
    if refused := embedded.refused.get(0):
        return Examined(ok=False, message=f"{told}; a text was refused: {refused}")
    if embedder.approximate:
        return Examined(ok=True, message=f"no service: {told}; it knows words and not what they mean")
    return Examined(ok=True, message=f"{embedder}: {told}; a text was embedded")
