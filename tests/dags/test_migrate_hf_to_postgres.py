"""The migration's DAG, run for real in this process on a real database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.sources import articles, write_source

pytestmark = pytest.mark.usefixtures("airflow_metadata")


@pytest.fixture
def dag(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The DAG on an empty database, without waiting between tries."""
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REPORTS_URI", str(tmp_path / "reports"))
    bag = DagBag(str(Path(__file__).parents[2] / "dags"))
    assert not bag.import_errors
    dag = bag.dags["migrate_hf_to_postgres"]
    for each in dag.tasks:
        each.retries = 0
    return dag


def _run(dag: Any, source: Path, **conf: Any) -> Any:
    return dag.test(run_conf={"source": str(source), **conf})


def _states(run: Any) -> dict[str, set[str]]:
    states: dict[str, set[str]] = {}
    for instance in run.get_task_instances():
        states.setdefault(instance.task_id, set()).add(str(instance.state))
    return states


def _result(run: Any, task_id: str, key: str = "return_value") -> Any:
    return run.get_task_instance(task_id).xcom_pull(task_ids=task_id, key=key)


def _news(url: str) -> int:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        row = connection.execute("SELECT count(*) AS n FROM news").fetchone()
    return int(row["n"]) if row else -1


def test_a_migration_from_an_empty_database_to_a_report(dag: Any, database_url: str, tmp_path: Path) -> None:
    rows = articles(30)
    source = write_source(tmp_path / "source", [rows[:10], rows[10:20], rows[20:]])
    run = _run(dag, source, dry_run=False)
    assert str(run.state) == "success", _states(run)
    summary = _result(run, "report")
    assert summary["account"]["loaded"] == summary["account"]["read"] == _news(database_url) == 30
    assert summary["validation"]["different"] == summary["validation"]["unaccounted"] == 0
    assert Path(summary["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    link = _result(run, "report", key="_link_ReportLink")
    assert link == f"/govbr/reports/{Path(summary['report']).name}"
    assert len([i for i in run.get_task_instances() if i.task_id == "load_segment"]) == 3

    again = _run(dag, source, dry_run=False)
    account = _result(again, "report")["account"]
    assert (account["loaded"], account["updated"], account["already_present"]) == (0, 0, 30)


def test_the_form_asks_for_a_dry_run_unless_told_otherwise(dag: Any, database_url: str, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", [articles(5)])
    run = _run(dag, source)
    assert str(run.state) == "success", _states(run)
    assert _news(database_url) == 0
    assert _result(run, "report")["validation"] is None
    assert _result(run, "report")["account"]["read"] == 5


def test_an_empty_source_ends_with_an_account_of_nothing(dag: Any, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", [[]])
    run = _run(dag, source, dry_run=False)
    assert _result(run, "report")["account"]["read"] == 0
    assert _states(run)["load_segment"] == {"skipped"}
    assert str(run.state) == "success"


def test_a_missing_source_fails_at_the_first_task_and_is_not_tried_again(dag: Any, tmp_path: Path) -> None:
    for each in dag.tasks:
        each.retries = 3  # a retry would wait half a minute: the test would run into its timeout
    run = _run(dag, tmp_path / "nothing-here", dry_run=False)
    assert str(run.state) == "failed"
    assert _states(run)["preflight"] == {"failed"}
    assert _states(run)["load_segment"] == {"upstream_failed"}


def test_too_many_rejects_stop_the_run_before_anything_is_written(dag: Any, database_url: str, tmp_path: Path) -> None:
    rows = articles(10)
    for row in rows[:5]:
        row["published_at"] = None
    source = write_source(tmp_path / "source", [rows])
    run = _run(dag, source, dry_run=False, max_reject_rate=0.1)
    assert _states(run)["plan"] == {"failed"}
    assert _news(database_url) == 0


def test_two_sides_that_differ_fail_the_run_after_the_report_was_written(
    dag: Any, database_url: str, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "source", [articles(10)])
    _run(dag, source, dry_run=False)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title)"
            " SELECT 'not-in-the-source', id, key, name, now(), 'x' FROM agencies LIMIT 1"
        )
    run = _run(dag, source, dry_run=False)
    assert _states(run)["verdict"] == {"failed"}
    assert _states(run)["report"] == {"success"}
    assert _result(run, "report")["validation"]["only_in_target"] == 1


def test_the_form_refuses_values_out_of_range(dag: Any, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match=r"1\.5 is greater than the maximum"):
        _run(dag, tmp_path, max_reject_rate=1.5)
