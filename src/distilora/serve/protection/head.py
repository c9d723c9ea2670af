"""HEAD is answered wherever GET is: the same status and headers, no body (RFC 9110, section 9.3.2)."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """Asks for the answer to GET; the web server, which still sees HEAD, leaves the body away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._app({**scope, "method": "GET"} if scope["method"] == "HEAD" else scope, receive, send)
