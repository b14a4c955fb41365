"""What a run of the search indexes is to do, found out once, in its first task.

The tasks hand on a plan for each index. Nothing that one index needs is read for another one, so that none is in the
way of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from govbr.run_date import run_date_of_task
from govbr.runtime import airflow_errors, reader_settings, task_settings

if TYPE_CHECKING:
    from data_platform.jobs.indexing.records import ReindexOptions
    from data_platform.managers.storage_mode import StorageMode

__all__ = ["ReaderPlan", "nothing_to_read", "plan_run", "skip_vain_wait"]

_LOG = logging.getLogger(__name__)
_ALL, _AUTO, _YES = "all", "auto", "yes"
#: Where each index can be set.
_TO_SET = {
    "typesense": "the connection typesense_default, or TYPESENSE_HOST and TYPESENSE_API_KEY",
    "qdrant": "the connection qdrant_default, or QDRANT_URL and QDRANT_API_KEY",
}


@dataclass(frozen=True)
class ReaderPlan:
    """What one index is asked for.

    Attributes:
        options: of the job; they name the index.
        mode: which stores are written and read.
    """

    options: ReindexOptions
    mode: StorageMode

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> ReaderPlan:
        """Read what `to_dict` wrote.

        Raises:
            ConfigurationError: the options mean nothing together.
        """
        from data_platform.jobs.indexing.records import Kind, ReindexOptions, Source
        from data_platform.managers.storage_mode import StorageMode

        options = dict(told["options"])
        kind, source = Kind(options.pop("kind")), Source(options.pop("source"))
        return cls(
            ReindexOptions(reader=told["reader"], kind=kind, source=source, **options),
            StorageMode.from_dict(told["mode"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values, and what is waited for beforehand as `await_kind` and `await_side`."""
        names = ("dry_run", "afresh", "replace_collection", "allow_shrink", "max_failed")
        options = {name: getattr(self.options, name) for name in names}
        kind, side = self.awaited
        return {
            "reader": self.reader,
            "options": {"kind": self.options.kind.value, "source": self.options.source.value, **options},
            "mode": self.mode.to_dict(),
            "await_kind": kind,
            "await_side": side,
        }

    @property
    def reader(self) -> str:
        """`typesense` or `qdrant`."""
        return self.options.reader

    @property
    def follows(self) -> bool:
        """Whether the changes are to be followed."""
        from data_platform.jobs.indexing.records import Kind

        return self.options.kind is Kind.INCREMENTAL

    @property
    def goes_back(self) -> bool:
        """Whether searches are to see the collection before again."""
        from data_platform.jobs.indexing.records import Kind

        return self.options.kind is Kind.ROLLBACK

    @property
    def reads_dataset(self) -> bool:
        """Whether the rows come from the dataset on the Hub."""
        from data_platform.jobs.indexing.records import Source

        return self.options.source is Source.HUGGINGFACE

    @property
    def needs_no_postgres(self) -> bool:
        """Whether it shall get on without PostgreSQL: the dataset is the source, or the only store that is written."""
        return self.reads_dataset or not self.writes_postgres

    @property
    def writes_postgres(self) -> bool:
        """Whether PostgreSQL is written in this mode."""
        from data_platform.managers.storage_mode import ReadSource

        return ReadSource.POSTGRES in self.mode.sides

    @property
    def awaited(self) -> tuple[str, str]:
        """Kind and store of the recorded write that a run waits for; both "" if nobody writes what it reads."""
        from data_platform.jobs.daily.day_record import DAY
        from data_platform.managers.ledger.run_ledger import SYNC
        from data_platform.managers.storage_mode import ReadSource

        side = ReadSource(self.options.source.value)
        if side in self.mode.sides:
            return DAY, side.value
        # In mode postgres the dataset is written by the sync.
        return (SYNC, side.value) if side is ReadSource.HUGGINGFACE else ("", "")


def plan_run(context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Find the mode and the indexes, once for the run; look at the form before anybody waits for it.

    Returns:
        A plan for each index that is kept in this run, as `ReaderPlan.to_dict` writes it.

    Raises:
        AirflowSkipException: there is nothing to do; says why.
        AirflowFailException: a setting or the form cannot be used.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from data_platform.jobs.indexing.records import READERS
    from govbr.hooks.storage_hook import StorageHook

    params = context["params"]
    with airflow_errors():
        mode = StorageHook(run_parameters=params).get_mode()
        run_date_of_task(context)
        shape = {"options": _options_of(params), "mode": mode.to_dict()}
        any_reader = ReaderPlan.from_dict({"reader": READERS[0], **shape})
        readers = _readers(params["reader"])
        if not readers:
            told = "; ".join(f"for {reader}: {places}" for reader, places in _TO_SET.items())
            raise AirflowSkipException(f"no search index is configured, so none is kept. To have one kept, set {told}")
    options = any_reader.options
    _LOG.info("%s run of %s%s", options.kind, " and ".join(readers), ", dry" if options.dry_run else "")
    return [ReaderPlan.from_dict({"reader": reader, **shape}).to_dict() for reader in readers]


def skip_vain_wait(context: Mapping[str, Any]) -> None:
    """Skip the sensor where nobody writes what is read: to be called before it executes.

    Raises:
        AirflowSkipException: PostgreSQL is read and not written in this mode.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    if not context["task"].side:
        raise AirflowSkipException(
            "in mode huggingface nobody writes PostgreSQL, so there is no write to wait for: going on with what it has"
        )


# ------------------------------------------------------------------------------------------------------


def _options_of(params: Mapping[str, Any]) -> dict[str, Any]:
    from data_platform.jobs.indexing.records import Kind

    dry_run = params["dry_run"]
    return {
        "kind": params["kind"],
        "source": params["source"],
        # A schedule acts, and so does a person who has changes followed; what moves searches is looked at first.
        "dry_run": params["kind"] != Kind.INCREMENTAL if dry_run == _AUTO else dry_run == _YES,
        "afresh": bool(params["afresh"]),
        "replace_collection": bool(params["replace_collection"]),
        "allow_shrink": bool(params["allow_shrink"]),
        "max_failed": int(params["max_failed"]),
    }


def _readers(named: str) -> list[str]:
    """Return the indexes of a run: the one that is named, or all that are configured.

    Raises:
        ConfigurationError: the one that is named is not configured; says what to set.
    """
    from data_platform.errors import ConfigurationError
    from data_platform.jobs.indexing.records import READERS

    chosen = []
    for reader in READERS if named == _ALL else (named,):
        try:
            is_set = _is_configured(reader)
        except ConfigurationError as error:
            if named != _ALL:
                raise
            _LOG.error("%s is configured in a way that cannot be used; its own task fails: %s", reader, error)
            is_set = True
        if is_set:
            chosen.append(reader)
        elif named != _ALL:
            raise ConfigurationError(f"{reader} is not configured", hint=f"set {_TO_SET[reader]}")
        else:
            _LOG.warning("%s is not configured and left out; to have it kept, set %s", reader, _TO_SET[reader])
    return chosen


def _is_configured(reader: str) -> bool:
    settings = reader_settings(reader, with_postgres=False)
    return bool(settings.typesense_host if reader == "typesense" else settings.qdrant_url)


def nothing_to_read(plan: ReaderPlan) -> str:
    """Say why there are no changes to follow; "" if there may be, or whoever started the run shall see it fail."""
    from data_platform.errors import ConfigurationError

    if not (plan.follows and plan.needs_no_postgres):
        return ""
    told = f"the storage mode is {plan.mode.pair} ({plan.mode.backend_source}), where PostgreSQL is not needed, and "
    try:
        return "" if task_settings().database_url else f"{told}no database is set: there are no changes to follow"
    except ConfigurationError as error:
        return f"{told}its address cannot be read ({error}): there are no changes to follow"
