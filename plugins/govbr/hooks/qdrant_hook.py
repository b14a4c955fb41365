"""The index of news in Qdrant, through an Airflow connection: the provider's hook, corrected."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.providers.qdrant.hooks.qdrant import QdrantHook

from govbr.connections import EMBEDDINGS_CONNECTION, QDRANT_CONNECTION, environment_settings, with_connections
from govbr.hooks.examined import Examined, collection_in_words, examine

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from data_platform.managers.qdrant.index import QdrantIndex
    from data_platform.settings import Settings

__all__ = ["NewsQdrantHook"]

#: The longest silence that a test bears, in seconds.
_TIMEOUT_S = 30


class NewsQdrantHook(QdrantHook):
    """Gives the index of news in Qdrant, and a client of it, for a connection of Airflow.

    A child of the provider's QdrantHook (1.5.6), so that its operators work with it. Corrected is:

    * the client waits 60 seconds for an answer, not 5, which are too few for a large upsert; it does not ask for the
      server's version first; gRPC, whose switch the provider misspells, is not used;
    * a password alone does not turn on https on this machine: without a scheme, loopback is spoken to by http, anything
      else by https;
    * the host may be a full address; a host and a `url` together are refused with what to do;
    * `verify_connection`, and so `test_connection`, never raises: the provider's lets "connection refused" through
      (ResponseHandlingException); and it says what it found;
    * `get_connection_form_widgets` needs no flask_appbuilder, which Airflow 3 does not bring along.

    Connection, of the provider's type **qdrant** or the stock type **generic** (values are stripped of white space):

    * Host: name or address, or all of it as `https://name:port`.
    * Port: if the host has none; 6333 if empty.
    * Schema: `http` or `https`, if the host does not say it.
    * Password: the key; kept out of logs.
    * Extra: `{"collection": "news"}`, the alias that searches use; and of the provider's `url`, `https`, `prefix`.
    * Login: leave empty.

    Without the connection, and for what it leaves empty, the environment speaks: `QDRANT_URL`, `QDRANT_API_KEY`,
    `QDRANT_COLLECTION`.

    Args:
        conn_id: the connection.
        embeddings_conn_id: that of the service whose vectors the index has.
    """

    default_conn_name = QDRANT_CONNECTION
    hook_name = "News in Qdrant"

    def __init__(self, conn_id: str = default_conn_name, embeddings_conn_id: str = EMBEDDINGS_CONNECTION) -> None:
        super().__init__(conn_id=conn_id)
        self.embeddings_conn_id = embeddings_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return no fields besides the stock ones."""
        return {}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form of a connection type of its own would look."""
        return {
            "hidden_fields": ["login"],
            "relabeling": {"password": "API key", "schema": "Protocol"},
            "placeholders": {"host": "https://name:port", "extra": '{"collection": "news"}'},
        }

    def get_settings(self) -> Settings:
        """Return the settings with this connection's Qdrant, and with those of the embeddings.

        Raises:
            ConfigurationError: a connection cannot be read.
        """
        settings = environment_settings(with_postgres=False, services=["qdrant", "embeddings"])
        return with_connections(settings, qdrant=self.conn_id, embeddings=self.embeddings_conn_id)

    def get_conn(self) -> QdrantClient:
        """Return a client as this package makes it; the provider's operators take it from `conn`.

        Raises:
            ConfigurationError: neither connection nor environment says where Qdrant is.
        """
        from data_platform.managers.qdrant.session import QdrantSession

        return QdrantSession(self.get_settings()).client

    def get_index(self, *, replace_collection: bool = False) -> QdrantIndex:
        """Return the index; close it after use.

        Args:
            replace_collection: whether a collection that has the alias's own name may be dropped for the alias.

        Raises:
            ConfigurationError: address or key are not set, or approximate vectors would leave this machine.
        """
        from data_platform.managers.qdrant.index import QdrantIndex

        return QdrantIndex.of(self.get_settings(), replace_collection=replace_collection)

    def verify_connection(self) -> tuple[bool, str]:
        """Ask the server what it is and what searches see; return whether it can be used, and a message."""
        found = self.examine()
        return found.ok, found.message

    def test_connection(self) -> tuple[bool, str]:
        """Return what `verify_connection` does."""
        return self.verify_connection()

    def examine(self) -> Examined:
        """Return what `test_connection` tells. Whether points can be written is not tried."""
        return examine(self.get_settings, _look)


def _look(settings: Settings) -> Examined:
    from data_platform.managers.embeddings.choose import choose_embedder
    from data_platform.managers.hub.session import Backoff
    from data_platform.managers.qdrant.index import QdrantIndex
    from data_platform.managers.qdrant.session import QdrantSession

    once = Backoff(tries=1)
    # The service that embeds is not asked here: it may be asleep, and `EmbeddingsHook` tells of it.
    embedder = choose_embedder(settings, backoff=once)
    session = QdrantSession(settings, backoff=once, timeout_s=_TIMEOUT_S)
    with closing(QdrantIndex(session, embedder, alias=settings.qdrant_collection)) as index:
        version = session.once("asking for its version", lambda client: client.info()).version
        wanted = {"model": embedder.model, "dimension": str(embedder.dimension)}
        live = index.live()
        card = index.card(live) if live else None
        return Examined(
            # Others are never written beside them.
            ok=card is None or wanted.items() <= card.facts.items(),
            message=f"{session}: version {version}; {collection_in_words(index)};"
            f" vectors wanted: {embedder.model}, {embedder.dimension} numbers",
        )
