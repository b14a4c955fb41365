"""Rows that could not be stored, kept whole as objects, for writers that do without PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from data_platform.managers.ledger.write_once import WriteOnceObjects
from data_platform.models.days import utc_now
from data_platform.settings import Settings
from data_platform.sources.judged import Reject

__all__ = ["KeptRejects"]


class KeptRejects:
    """A `RejectSink` below `STATE_URI`: `rejects/<payload digest>-<reason>.json`, each once however often it comes.

    The name is what the table `rejects` has for a key, so that both can be brought together.

    Args:
        state_uri: a folder or an fsspec URI such as `gs://bucket/state`.
    """

    def __init__(self, state_uri: str) -> None:
        self.objects = WriteOnceObjects(state_uri)

    @classmethod
    def of(cls, settings: Settings) -> KeptRejects:
        """Return the sink of these settings."""
        return cls(settings.state_uri)

    def keep(self, rejects: Sequence[Reject], *, origin: str) -> int:
        """Keep rejects; return how many of those given are kept now.

        Args:
            rejects: rows, whole, with field and reason.
            origin: what wrote them, such as "insert".

        Raises:
            ConfigurationError: `STATE_URI` cannot be written to.
            TransientError: it did not answer.
        """
        there: set[str] = set()
        for reject in rejects:
            name = _name(reject)
            if name not in there:
                seen = {"origin": origin, "first_seen_at": utc_now().isoformat(), "digest": reject.digest}
                self.objects.create(name, asdict(reject) | seen)  # one that is there already is as good
                there.add(name)
        return sum(_name(reject) in there for reject in rejects)

    def kept(self) -> Iterator[dict[str, object]]:
        """Give every reject as it was kept."""
        for name in self.objects.names("rejects"):
            yield self.objects.read(name)


def _name(reject: Reject) -> str:
    reason = re.sub(r"[^a-z0-9_]", "_", reject.reason.lower())
    return f"rejects/{reject.digest}-{reason}.json"
