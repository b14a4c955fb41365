"""Airflow plugin: the report pages, and the button that leads to them.

The package `govbr` beside this file is listed in .airflowignore: it is imported, not run as a plugin.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from govbr.migration import ReportLink
from govbr.reports_app import make_app


class GovbrPlugin(AirflowPlugin):
    """What the package adds to Airflow's web server."""

    name = "govbr"
    operator_extra_links = [ReportLink()]  # noqa: RUF012 - so Airflow declares it
    fastapi_apps = [  # noqa: RUF012 - so Airflow declares it
        {"app": make_app(), "url_prefix": "/govbr", "name": "govbr reports"}
    ]
