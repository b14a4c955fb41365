"""Serves the reports to people who are logged in to Airflow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from govbr.runtime import reports_uri

__all__ = ["make_app"]

_NAME = re.compile(r"^migration-\d+-\d{8}-\d{6}\.html$")


def make_app() -> Any:  # noqa: ANN401 - FastAPI, whose import is slow
    """Return the web application; mounted by the plugin under /govbr."""
    import fsspec  # type: ignore[import-untyped]  # ships no types
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.responses import HTMLResponse

    app = FastAPI(title="govbr", docs_url=None, redoc_url=None, openapi_url=None)

    def report(name: str) -> HTMLResponse:
        if not _NAME.match(name):
            raise HTTPException(404, "no report has such a name")
        filesystem, folder = fsspec.core.url_to_fs(reports_uri())
        try:
            with filesystem.open(str(Path(folder) / name), "rb") as page:
                content = page.read()
        except FileNotFoundError:
            raise HTTPException(404, f"{name} is not among the reports of this server") from None
        # The report carries its own content security policy; it needs nothing but itself.
        return HTMLResponse(
            content, headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
        )

    # Annotations are strings in this module, and the response's class is known in this function only.
    report.__annotations__["return"] = HTMLResponse
    app.get("/reports/{name}", response_class=HTMLResponse, dependencies=[Depends(get_user)])(report)
    return app
