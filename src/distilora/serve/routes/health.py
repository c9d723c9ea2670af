"""Whether the server is alive, whether it wants more work, and what it has done."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from distilora.serve.problems import Problem
from distilora.serve.records import Status
from distilora.serve.routes.responses import ANY, example, good, problems
from distilora.serve.state import served_by

router = APIRouter(tags=["health"])

_OK = {"ok": example("All is well", {"status": "ok"})}
_METRICS = """\
# HELP distilora_http_requests_total Requests answered.
# TYPE distilora_http_requests_total counter
distilora_http_requests_total{method="POST",route="/v1/predict",status="200"} 17.0
"""
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus' text format",
        "content": {"text/plain": {"schema": {"type": "string"}, "examples": {"some": example("Some", _METRICS)}}},
    }
}


@router.get(
    "/healthz",
    summary="Is it alive?",
    operation_id="healthz",
    response_description="It is",
    responses={**good(_OK), **problems("unknown-host", "failed")},
)
async def healthz() -> Status:
    """Say that the process answers; it does so while it drains, too. Needs no key."""
    return Status(status="ok")


@router.get(
    "/readyz",
    summary="May it be given work?",
    operation_id="readyz",
    response_description="It may",
    responses={**good(_OK), **problems("unknown-host", "failed", "unavailable")},
)
async def readyz(request: Request) -> Status:
    """Say whether requests should be sent here; not once the server was told to stop. Needs no key."""
    if served_by(request).phase.draining:
        raise Problem("unavailable", "the server is about to stop: send requests elsewhere")
    return Status(status="ok")


@router.get(
    "/metrics",
    summary="What it has done",
    operation_id="metrics",
    response_class=PlainTextResponse,
    response_description="Prometheus' text format",
    responses={**_TEXT, **problems(*ANY)},
)
async def metrics(request: Request) -> Response:
    """Return counts and times for Prometheus; no comment is among them."""
    content, media_type = served_by(request).metrics.exposition()
    return Response(content, media_type=media_type)
