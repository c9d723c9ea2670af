"""Who has no API key and has not signed in is refused."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from distilora.serve.failures import refuse
from distilora.serve.problems import Problem
from distilora.serve.protection.keys import COOKIE, Gate
from distilora.serve.protection.reading import OPEN_PATHS, header, is_within, wants_page

SIGN_IN = "/sign-in"
REPORTS = "/report/document"
"""Before a ticket and what it lets one read."""


class AccessKey:
    """Asks for the API key, in a header or as the cookie that signing in sets; a ticket in the address opens reports.

    Args:
        app: what stands behind.
        gate: what the key opens.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, send a person to sign in, or refuse."""
        path = scope["path"]
        if path in OPEN_PATHS or path == SIGN_IN or is_within(path, "/static") or self._may_pass(scope):
            await self._app(scope, receive, send)
        elif scope["method"] in {"GET", "HEAD"} and wants_page(scope):
            query = scope["query_string"].decode("ascii", "replace")
            wanted = quote(f"{path}?{query}" if query else path)
            await RedirectResponse(f"{SIGN_IN}?next={wanted}", 303)(scope, receive, send)
        else:
            no_key = Problem("no-key", "the request has no right API key", headers={"WWW-Authenticate": "Bearer"})
            await refuse(no_key, scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        path, is_reading = scope["path"], scope["method"] in {"GET", "HEAD"}
        if (
            is_reading
            and is_within(path, REPORTS)
            and self._gate.admits(path.removeprefix(f"{REPORTS}/").split("/")[0])
        ):
            return True
        return self._is_known(scope)

    def _is_known(self, scope: Scope) -> bool:
        key = header(scope, b"x-api-key") or _bearer(header(scope, b"authorization") or "")
        if key:
            return self._gate.opens_to(key)
        return self._gate.knows(cookie_parser(header(scope, b"cookie") or "").get(COOKIE, ""))


def _bearer(authorization: str) -> str:
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
