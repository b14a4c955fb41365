"""The dataset on the HuggingFace Hub, through an Airflow connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from govbr.connections import HUGGINGFACE_CONNECTION, environment_settings, hub_access, with_connections
from govbr.hooks.examined import Examined, examine
from govbr.runtime import state_uri

if TYPE_CHECKING:
    from data_platform.managers.dataset_manager import DatasetManager
    from data_platform.settings import Settings

__all__ = ["HuggingFaceDatasetHook"]

_TIMEOUT_S = 30.0
_WRITING_ROLES = {"write", "admin", "fineGrained"}


class HuggingFaceDatasetHook(BaseHook):
    """Gives a `DatasetManager` for a connection of Airflow.

    Connection, of the stock type **generic** (all values are stripped of white space):

    * Password: the token (`hf_…`); kept out of logs. Reading a public dataset needs none, writing needs one.
    * Host: address of the Hub; the public one if empty.
    * Extra: `{"dataset": "owner/name", "reduced_dataset": "owner/name"}`. The reduced one is `<dataset>-reduced` if it
      is not named. A dataset that is only the default is read and never written: name it here or in HF_DATASET.
    * Login, Schema, Port: leave empty.

    Without the connection, and for what it leaves empty, the environment speaks: `HF_TOKEN`, `HF_ENDPOINT`,
    `HF_DATASET`, `HF_REDUCED_DATASET`.

    Args:
        huggingface_conn_id: the connection.
    """

    conn_name_attr = "huggingface_conn_id"
    default_conn_name = HUGGINGFACE_CONNECTION
    conn_type = "generic"
    hook_name = "HuggingFace dataset"

    def __init__(self, huggingface_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.huggingface_conn_id = huggingface_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form of a connection type of its own would look; the stock type shows all fields."""
        return {
            "hidden_fields": ["login", "port", "schema"],
            "relabeling": {"host": "Endpoint", "password": "Token"},
            "placeholders": {
                "host": "https://huggingface.co",
                "password": "hf_…",
                "extra": '{"dataset": "owner/name", "reduced_dataset": "owner/name-reduced"}',
            },
        }

    def get_settings(self) -> Settings:
        """Return the settings with this connection's Hub."""
        settings = environment_settings(with_postgres=False, state_uri=state_uri())
        return with_connections(settings, huggingface=self.huggingface_conn_id)

    def get_manager(self, settings: Settings | None = None) -> DatasetManager:
        """Return a manager of the dataset; rows that cannot be stored are kept below STATE_URI.

        Args:
            settings: None reads connection and environment.
        """
        from data_platform.managers.dataset_manager import DatasetManager
        from data_platform.managers.ledger.kept_rejects import KeptRejects

        chosen = settings or self.get_settings()
        # Named in the connection is named on purpose, even if it is the default's name.
        named = hub_access(self.huggingface_conn_id).dataset
        return DatasetManager(named or None, settings=chosen, rejects=KeptRejects.of(chosen))

    def test_connection(self) -> tuple[bool, str]:
        """Ask the Hub whose token it is and what it sees; return whether it can be used, and a message."""
        found = self.examine()
        return found.ok, found.message

    def examine(self) -> Examined:
        """Return what `test_connection` tells, and whether the dataset can be written to."""
        return examine(self.get_settings, _look)


def _look(settings: Settings) -> Examined:
    from data_platform.managers.hub.session import HubSession

    session = HubSession(settings.hf_dataset, settings, timeout_s=_TIMEOUT_S)
    role, who = "", "anonymous, which may read what is public and write nothing"
    if settings.hf_token:
        told = session.once("the token", session.api().whoami)
        role = str(told.get("auth", {}).get("accessToken", {}).get("role", "") or "unknown")
        may = "may read and write" if role in _WRITING_ROLES else "may read, not write"
        who = f"as {told.get('name', 'somebody')} with a token of role {role}, which {may}"
    info = session.once(str(session), lambda: session.api().dataset_info(settings.hf_dataset, timeout=_TIMEOUT_S))
    files = len(info.siblings or ())
    seen = f"{session} is visible{' (private)' if info.private else ''} at commit {str(info.sha)[:8]}, {files} files"
    return Examined(ok=True, writable=role in _WRITING_ROLES, message=f"{seen}; {who}")
