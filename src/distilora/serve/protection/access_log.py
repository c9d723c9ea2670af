"""One line and one count for every request; neither holds what was asked."""

from __future__ import annotations

import logging
import os
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distilora.serve.metrics import Metrics
from distilora.serve.protection.reading import header, is_within

_LOG = logging.getLogger("distilora.serve.access")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_GONE = 499
"""What the log calls a client that left before it had an answer, as nginx does."""


class AccessLog:
    """Logs method, path template, status, time, request id and client; the answer's ``X-Request-Id`` finds its line.

    Args:
        app: what stands behind.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and say so."""
        began = time.perf_counter()
        identity = _identity(scope)
        scope.setdefault("state", {})["request_id"] = identity
        status = _GONE

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identity.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            self._note(scope, status, identity, seconds=time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, identity: str, *, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = _template(scope)
        self._metrics.request(method=method, route=route, status=status, seconds=seconds)
        client = scope.get("client")
        _LOG.info(
            "%s %s %d %.1f ms %s %s", method, route, status, 1000 * seconds, identity, client[0] if client else "-"
        )


def _identity(scope: Scope) -> str:
    """Return the id that a proxy gave the request, or a new one."""
    given = header(scope, b"x-request-id")
    return given if given and _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()


def _template(scope: Scope) -> str:
    """Return the path of a route as it was declared; a dash where the request did not come that far."""
    if is_within(scope["path"], "/static"):
        return "/static"
    return getattr(scope.get("route"), "path_format", "-")
