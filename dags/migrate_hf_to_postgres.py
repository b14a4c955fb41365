"""
# Migrate the HuggingFace dataset to PostgreSQL

Brings the news dataset into PostgreSQL, **every row accounted for** and **equality proven** by a digest of every column
of every row. Run it once to fill an empty database, and again later as the *catch-up*: new rows are added, rows that
changed at the source are updated, rows that vanished are reported and kept.

## Safety

* **Dry run is on unless you switch it off.** A dry run reads and judges every row and writes nothing to `news`. It
  creates the tables if they are missing and fills agencies and themes if they are empty.
* If more rows would be rejected than you allow, the run stops before anything is written.
* Nothing is deleted, ever. Rows that cannot be stored are kept whole in `rejects`, with field and reason.
* One migration at a time; a second one is refused.
* Twice is safe: a run over the same data changes nothing and says so.

## Parameters

| name | meaning |
|---|---|
| `source` | dataset id on the Hub, a folder with `data/train-*.parquet`, or one parquet file |
| `dry_run` | read, clean and account only (default: on) |
| `max_reject_rate` | share of rows that may be rejected, 0 to 1 |
| `parallel` | segments that load at once; each takes a connection and up to 400 MB |
| `resume` | go on with an unfinished run of the same source; off: give it up and plan anew |

Example: `{"source": "nitaibezerra/govbrnews", "dry_run": false, "max_reject_rate": 0.01, "parallel": 2}`

The same from a shell: `python -m data_platform migrate --source nitaibezerra/govbrnews --dry-run`

## What happens

`preflight` looks at both ends → `prepare_database` upgrades the schema → `plan` pins the source to its present commit,
finds rows that share an id or an address, and cuts segments → `load_segment` loads them, one mapped task each →
`build_indexes` → `close_account` → `validate` → `report` → `verdict`, which fails the run if the two sides differ.
The button *Migration report* on the task `report` opens the report.

## After a failure

Clear the failed tasks, or trigger again with the same source: loading goes on where it stopped. A killed segment leaves
nothing of itself behind; a finished one is never loaded twice. Tasks are tried again only if their error may pass.

## When not to use it

* Not to bring *one day* or *one agency* up to date: that is the daily pipeline's work.
* Not while `STORAGE_BACKEND` is `postgres`: HuggingFace is then the copy, and a catch-up could bring old values back.
* Not to repair drift while both stores are written: use the reconciliation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from govbr.migration import MigrationReportOperator, migration_job, prepare_database
from govbr.runtime import airflow_errors

#: A segment is some 10,000 rows and loads in seconds; a first build of all indexes takes minutes on a small server.
_TASK_TIMEOUT = timedelta(hours=1)
_STATEMENT_TIMEOUT_S = int(_TASK_TIMEOUT.total_seconds()) - 60
#: The form's `parallel` is kept by the loader itself; this bounds how many tasks may wait for their turn.
_MOST_LOADING = 8


def _job() -> Any:  # noqa: ANN401 - the type's module is not imported while parsing
    context = get_current_context()
    return migration_job(
        context["params"], started_by=f"DAG run {context['run_id']}", statement_timeout_s=_STATEMENT_TIMEOUT_S
    )


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["migration", "postgres", "huggingface"],
    default_args={
        "owner": "data-platform",
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": _TASK_TIMEOUT,
    },
    params={
        "source": Param(
            "nitaibezerra/govbrnews",
            type="string",
            minLength=1,
            title="Source",
            description="Dataset id on the Hub, a folder with data/train-*.parquet, or one parquet file",
        ),
        "dry_run": Param(
            True, type="boolean", title="Dry run", description="Read, clean and account only; write nothing to news"
        ),
        "max_reject_rate": Param(
            0.01,
            type="number",
            minimum=0,
            maximum=1,
            title="Maximum reject rate",
            description="Share of rows that may be rejected before anything is loaded (0.01 is one in a hundred)",
        ),
        "parallel": Param(
            2,
            type="integer",
            minimum=1,
            maximum=_MOST_LOADING,
            title="Parallel segments",
            description="Segments that load at once; each takes a connection and up to 400 MB",
        ),
        "resume": Param(
            True,
            type="boolean",
            title="Resume",
            description="Go on with an unfinished run of the same source; off: give it up and plan anew",
        ),
    },
)
def migrate_hf_to_postgres() -> None:
    """Wire the steps; what they do is in data_platform.jobs.migration."""

    @task
    def preflight() -> dict[str, Any]:
        """Look at both ends: database reachable and writable, source readable and of the right schema."""
        with airflow_errors():
            return _job().check_ends()  # type: ignore[no-any-return]

    @task(task_id="prepare_database")
    def prepare() -> dict[str, Any]:
        """Upgrade the schema; fill agencies and themes where they are empty."""
        with airflow_errors():
            return prepare_database(statement_timeout_s=_STATEMENT_TIMEOUT_S)

    @task
    def plan() -> list[dict[str, Any]]:
        """Pin the source, read its keys, refuse too many rejects, and cut segments; these are what is mapped over."""
        with airflow_errors():
            planned = _job().planned()
        get_current_context()["ti"].xcom_push(key="migration_id", value=planned["run_id"])
        return planned["segments"]  # type: ignore[no-any-return]

    @task(map_index_template="{{ segment_label }}", max_active_tis_per_dagrun=_MOST_LOADING)
    def load_segment(migration_id: int, segment: dict[str, Any]) -> dict[str, Any]:
        """Load one segment; its rows and its checkpoint are one transaction."""
        get_current_context()["segment_label"] = segment["label"]  # type: ignore[typeddict-unknown-key]
        with airflow_errors():
            return _job().load(migration_id, segment["number"]).summary()  # type: ignore[no-any-return]

    # Nothing to load (an empty source) skips the mapped task; the steps behind it still have to say so.
    @task(trigger_rule="none_failed")
    def build_indexes(migration_id: int) -> list[dict[str, Any]]:
        """Put keys, indexes and foreign keys on again, online."""
        with airflow_errors():
            return _job().build_indexes(migration_id)  # type: ignore[no-any-return]

    @task
    def close_account(migration_id: int) -> dict[str, Any]:
        """read = loaded + updated + already there + duplicate + rejected, or the run fails."""
        with airflow_errors():
            return _job().account(migration_id).to_dict()  # type: ignore[no-any-return]

    @task
    def validate(migration_id: int) -> str:
        """Compare source and table by a digest of every column of every row."""
        with airflow_errors():
            result = _job().validate(migration_id)
            return result.verdict if result else "not compared: a dry run loads nothing"

    @task
    def verdict(report: dict[str, Any]) -> str:
        """Fail the run if the two sides differ; the report, written before, names each difference."""
        with airflow_errors():
            return _job().require_equal(report)  # type: ignore[no-any-return]

    segments = plan()
    migration_id: Any = segments["migration_id"]
    loaded = load_segment.partial(migration_id=migration_id).expand(segment=segments)
    built = build_indexes(migration_id)
    closed = close_account(migration_id)
    compared = validate(migration_id)
    report = MigrationReportOperator(
        task_id="report", migration_id=migration_id, statement_timeout_s=_STATEMENT_TIMEOUT_S
    )
    preflight() >> prepare() >> segments  # type: ignore[operator]
    loaded >> built >> closed >> compared >> report  # type: ignore[operator]
    verdict(report.output)


migrate_hf_to_postgres()
