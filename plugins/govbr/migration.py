"""The migration's steps as Airflow tasks call them.

Each function opens nothing while a DAG is parsed; what it returns is small and fit for XCom.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink

from govbr.runtime import airflow_errors, task_settings

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import TaskInstanceKey
    from psycopg import Connection

    from data_platform.jobs.migration.job import MigrationJob

__all__ = ["MigrationReportOperator", "ReportLink", "migration_job", "prepare_database"]

_LOG = logging.getLogger(__name__)
REPORTS_PATH = "/govbr/reports"


def migration_job(params: Mapping[str, Any], *, started_by: str, statement_timeout_s: int) -> MigrationJob:
    """Return the migration that a run's form asks for.

    Args:
        params: the form: source, dry_run, max_reject_rate, parallel, resume.
        started_by: for the record of the run.
        statement_timeout_s: bound on one SQL statement, in seconds.
    """
    from data_platform.jobs.migration.job import MigrationJob
    from data_platform.jobs.migration.records import MigrationOptions

    options = MigrationOptions(
        source=params["source"],
        dry_run=params["dry_run"],
        max_reject_rate=params["max_reject_rate"],
        parallel=params["parallel"],
        resume=params["resume"],
        started_by=started_by,
    )
    return MigrationJob(task_settings(statement_timeout_s=statement_timeout_s), options)


def prepare_database(*, statement_timeout_s: int) -> dict[str, Any]:
    """Bring the schema up to date and fill agencies and themes where they are empty; return what was done."""
    from data_platform.jobs.master_data import load_agencies, load_themes, populate_agencies, populate_themes
    from data_platform.managers.postgres.database import connect, translate_errors
    from data_platform.schema import upgrade

    settings = task_settings(statement_timeout_s=statement_timeout_s)
    url = settings.require_database()
    change = upgrade(url)
    _LOG.info("schema: %s -> %s", change.before or "nothing", change.after)
    done: dict[str, Any] = {"schema": change.after, "schema_before": change.before}
    with translate_errors(), connect(url, purpose="prepare") as connection:
        if settings.agencies_source or _is_empty(connection, "SELECT EXISTS (SELECT FROM agencies)"):
            done["agencies"] = asdict(populate_agencies(connection, load_agencies(settings.agencies_source)))
        if settings.themes_source or _is_empty(connection, "SELECT EXISTS (SELECT FROM themes)"):
            done["themes"] = asdict(populate_themes(connection, load_themes(settings.themes_source)))
    _LOG.info("%s", done)
    return done


def _is_empty(connection: Connection[Any], question: str) -> bool:
    row = connection.execute(question).fetchone()
    return not (row and row[0])


class ReportLink(BaseOperatorLink):
    """A button on the task that opens the report."""

    name = "Migration report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the address of the report that the task wrote, on this Airflow's own web server."""
        from airflow.providers.common.compat.sdk import XCom

        result = XCom.get_value(ti_key=ti_key, key="return_value")
        if not result:
            return ""
        return f"{REPORTS_PATH}/{str(result['report']).rsplit('/', 1)[-1]}"


class MigrationReportOperator(BaseOperator):
    """Writes the report of a migration run and marks the run done.

    Args:
        migration_id: the migration's run (not Airflow's), templated.
        statement_timeout_s: bound on one SQL statement, in seconds.
    """

    template_fields = ("migration_id",)
    operator_extra_links = (ReportLink(),)
    ui_color = "#d9ead3"

    def __init__(self, *, migration_id: Any, statement_timeout_s: int = 0, **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's own
        super().__init__(**kwargs)
        self.migration_id = migration_id
        self.statement_timeout_s = statement_timeout_s

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report; return account, validation, seconds and where the report lies."""
        from data_platform.jobs.migration.job import MigrationJob
        from data_platform.jobs.migration.records import MigrationOptions

        with airflow_errors():
            run_id = int(self.migration_id)
            options = MigrationOptions(source=context["params"]["source"])
            job = MigrationJob(task_settings(statement_timeout_s=self.statement_timeout_s), options)
            place = job.report(run_id)
            summary = job.summary(run_id)
        self.log.info("the report lies at %s", place)
        return {**summary, "report": place}
