"""The reports of experiments, each in a frame of a page of ours."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from distilora.layout import DISAGREEMENTS_FILE, LABEL_ERRORS_FILE, METHOD_NAME, REPORT_FILE
from distilora.serve.page.rendering import render
from distilora.serve.problems import Problem
from distilora.serve.protection.access_key import REPORTS
from distilora.serve.protection.keys import gate_for
from distilora.serve.state import Served, State

router = APIRouter(include_in_schema=False)

_REPORT, _DISAGREEMENTS, _ERRORS = map(re.escape, (REPORT_FILE, DISAGREEMENTS_FILE, LABEL_ERRORS_FILE))
_FILES = re.compile(rf"(?:{METHOD_NAME.pattern}/)?{_REPORT}|{METHOD_NAME.pattern}/{_DISAGREEMENTS}|{_ERRORS}")
"""The pages of a report, and what they link to."""


@router.get("/report")
async def show_report(request: Request, served: State, name: str | None = None) -> HTMLResponse:
    """Return the page that frames an experiment's report."""
    reports = served.catalog.reports or {}
    if name is not None and name not in reports:
        raise Problem("not-found", "no experiment of that name is served; choose one on the page of reports")
    chosen = name or next(iter(reports), None)
    address = f"{REPORTS}/{_ticket(served)}/{quote(chosen or '', safe='')}/{REPORT_FILE}"
    return render(request, "report.html", names=list(reports), chosen=chosen, address=address)


def _ticket(served: Served) -> str:
    """Return what lets the report's own links through where a key is asked for."""
    key = served.settings.api_key
    return "open" if key is None else gate_for(key.get_secret_value()).ticket()


@router.get(f"{REPORTS}/{{ticket}}/{{name}}/{{path:path}}")
async def send_report(ticket: str, name: str, path: str, served: State) -> Response:  # noqa: ARG001 - AccessKey reads it
    """Return a page of an experiment's report as it was written, under a policy of its own, or a file of its rows."""
    folder = (served.catalog.reports or {}).get(name)
    if folder is None or not _FILES.fullmatch(path):
        raise Problem("not-found", "no experiment of that name is served, or its report has no such page; see /report")
    content = await run_in_threadpool(_content, folder / path)
    if path.endswith(".csv"):
        return Response(content, media_type="text/csv", headers={"Content-Disposition": "attachment"})
    return HTMLResponse(content, headers={"Content-Security-Policy": report_policy()})


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Problem("unavailable", "the report cannot be read now; write it with distilora report") from error


@cache
def report_policy() -> str:
    """Return what a report may do: style itself and run its own script, without any access to our pages.

    A page with another script, of another version, is shown all the same: without its script it loses nothing.
    """
    script = resources.files("distilora").joinpath("report", "report.js").read_bytes()
    source = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        f"sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'sha256-{source}'; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
