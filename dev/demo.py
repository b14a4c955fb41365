"""The story of the migration on one machine, without cloud, Docker or network: `make demo`.

A made-up corpus with planted faults lies as a dataset on a stand-in of the Hub, and is migrated from there into an
embedded PostgreSQL by the real DAG in a real Airflow; every row is accounted for and both sides are compared. Then the
same DAG runs again and finds nothing to do. Then the dataset follows PostgreSQL (`dev.demo_sync`). Then a day's news is
collected from a stand-in of the sites into both, and both are compared (`dev.demo_day`). Then search follows
(`dev.demo_search`). The exit status is 0 only if all of that held.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from dev.airflow_local import AirflowLocal
from dev.demo_day import play_day
from dev.demo_search import play_search
from dev.demo_sync import play_sync
from dev.embedded_postgres import EmbeddedPostgres
from dev.local_hub import DATASET, local_hub
from dev.local_search import local_search
from dev.local_web import local_web
from dev.sample_data import write_corpus
from dev.state import REPOSITORY, LocalStackError, state_path

__all__ = ["DAG_ID", "corpus_environment", "ended_by_signals", "main"]

DAG_ID = "migrate_hf_to_postgres"
_DATABASE = "govbrnews_demo"
_ROWS = 3000
#: The rows that a source row can end as; together they are all rows read.
_OUTCOMES = ("loaded", "updated", "already_present", "duplicates", "rejected")

#: How rows with a planted fault have to end; those with the other faults are loaded, cleaned or as they are.
_ENDS_AS = {
    "rejected": ("missing_date", "empty_title", "sentinel_title"),
    "duplicates": ("repeated_id_same_content", "repeated_id_other_content"),
}


@dataclass(frozen=True)
class Result:
    """What the last task of the migration reports.

    Attributes:
        account: rows read and what became of them, with `rejected_by_reason`.
        validation: the comparison of source and database, with its `verdict`.
        seconds: how long the migration took.
        report: where the HTML report lies.
    """

    account: Mapping[str, Any]
    validation: Mapping[str, Any]
    seconds: float
    report: str

    @classmethod
    def from_xcom(cls, value: object) -> Result:
        """Read the task's return value.

        Raises:
            LocalStackError: it is not what the DAG promises.
        """
        wanted = ("account", "validation", "seconds", "report")
        if not isinstance(value, Mapping) or not all(value.get(key) is not None for key in wanted):
            raise LocalStackError(f"task report of {DAG_ID} handed over {value!r}, not {', '.join(wanted)}")
        return cls(value["account"], value["validation"], float(value["seconds"]), str(value["report"]))

    @property
    def equal(self) -> bool:
        """Source and database hold the same, but for what is accounted for."""
        return str(self.validation.get("verdict", "")).startswith("equal")

    @property
    def adds_up(self) -> bool:
        """Every row read ended as exactly one of the outcomes."""
        return self.account.get("read") == sum(int(self.account.get(name, 0)) for name in _OUTCOMES)

    def lines(self) -> list[str]:
        """Return the account and the verdict in words."""
        told: Mapping[str, Any] = self.validation
        reasons: Mapping[str, int] = self.account.get("rejected_by_reason") or {}
        lines = [f"{name.replace('_', ' '):<18}{int(self.account.get(name, 0)):>8,}" for name in ("read", *_OUTCOMES)]
        lines += [f"{'':<10}{reason}: {count}" for reason, count in reasons.items()]
        lines += [] if self.adds_up else ["THE ROWS DO NOT ADD UP"]
        lines += [
            f"{'verdict':<18}{told.get('verdict')}",
            f"{'':<10}{told.get('source_rows')} rows at the source, {told.get('target_rows')} stored",
            f"{'':<10}{told.get('equal')} equal cell by cell, {told.get('explained')} after counted cleanings",
            f"{'seconds':<18}{self.seconds:.1f}",
            f"{'report':<18}{self.report}",
        ]
        return [f"  {line}" for line in lines]


def main() -> int:
    """Play the demo; 0 if the migration proved equal, twice changed nothing, and both stores go on as one."""
    started = time.monotonic()
    try:
        with ended_by_signals(), ExitStack() as stack:
            ok = _play(stack)
            _say("stopping Airflow and PostgreSQL …")
    except LocalStackError as error:
        print(f"the demo could not go on: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    _say(f"{'done' if ok else 'FAILED'} after {time.monotonic() - started:.0f} s")
    return 0 if ok else 1


def _play(stack: ExitStack) -> bool:
    folder = state_path("demo")
    corpus = folder / "corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    planted = write_corpus(corpus, _ROWS, dirty=True)
    _say(f"a made-up corpus of {_ROWS} rows, {sum(planted.values())} of them with a planted fault: {corpus}")

    for kept in ("hub", "staging", "state"):
        shutil.rmtree(folder / kept, ignore_errors=True)
    hub = stack.enter_context(local_hub(folder / "hub", corpus))
    _say(f"the same as the dataset {DATASET} on a stand-in of the Hub: {hub['HF_ENDPOINT']}")

    server = stack.enter_context(EmbeddedPostgres(bound=True))
    server.drop_database(_DATABASE)
    database_url = server.create_database(_DATABASE)
    _say(f"an empty database: {_DATABASE}")

    _say("starting Airflow (half a minute, more on a busy machine) …")
    web, search = stack.enter_context(local_web()), stack.enter_context(local_search())
    environment = {**corpus_environment(corpus, database_url), **hub, **web, **search}
    airflow = stack.enter_context(AirflowLocal(folder / "airflow", fresh=True, environment=environment))
    first = _migrate(airflow)
    if first is None:
        return False
    found = _found_what_was_planted(first, planted)
    _say("once more, to see that doing it twice changes nothing")
    second = _migrate(airflow)
    if second is None or not (_changed_nothing(second) and found and first.equal and first.adds_up):
        return False
    # The acts in the order in which each finds what it needs; one that fails ends the play.
    return play_sync(airflow, environment, _say) and play_day(airflow, _say) and play_search(airflow, environment, _say)


def corpus_environment(corpus: Path, database_url: str) -> dict[str, str]:
    """Return the settings for migrating a made-up corpus into a local database, whatever the shell says."""
    reports = os.environ.get("REPORTS_URI", "").strip()
    return {
        "AGENCIES_SOURCE": "",
        "DATABASE_URL": database_url,
        # A folder may be chosen; the bucket of a real environment is not for made-up news.
        "REPORTS_URI": reports if reports and "://" not in reports else str(REPOSITORY / "reports"),
        "STAGING_URI": str(corpus.parent / "staging"),
        "STATE_URI": str(corpus.parent / "state"),
        "THEMES_SOURCE": str(corpus / "themes_tree.yaml"),
    }


def _migrate(airflow: AirflowLocal) -> Result | None:
    """Run the migration and print its result; None if the run failed."""
    outcome = airflow.run(DAG_ID, {"source": DATASET, "dry_run": False})
    if not outcome.succeeded:
        return None
    result = Result.from_xcom(airflow.client.xcom(DAG_ID, outcome.run_id, "report"))
    for line in result.lines():
        _say(line)
    return result


def _found_what_was_planted(first: Result, planted: Mapping[str, int]) -> bool:
    found = True
    for outcome, faults in _ENDS_AS.items():
        wanted, got = sum(planted[fault] for fault in faults), int(first.account.get(outcome, -1))
        verdict = "found all" if got == wanted else f"FOUND {got}"
        _say(f"  planted to be {outcome}: {wanted} ({', '.join(faults)}); {verdict}")
        found = found and got == wanted
    return found


def _changed_nothing(second: Result) -> bool:
    loaded, updated = int(second.account.get("loaded", -1)), int(second.account.get("updated", -1))
    unchanged = loaded == updated == 0
    verdict = "nothing changed" if unchanged else "IT CHANGED ROWS"
    _say(f"the second run loaded {loaded} and updated {updated}: {verdict}")
    return unchanged and second.equal and second.adds_up


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the stack as Ctrl-C does: in order, leaving nothing running."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
