"""Only the server's own pages may make a browser change something (cross-site request forgery).

Source: OWASP, https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from distilora.serve.failures import refuse
from distilora.serve.problems import Problem
from distilora.serve.protection.hosts import host_name
from distilora.serve.protection.reading import SAFE_METHODS, header

_DEFAULT_PORTS = {"http": 80, "https": 443}


class SameOrigin:
    """Refuses what another site's page makes a browser send; programs, which send no ``Origin``, may pass.

    Args:
        app: what stands behind.
        names: names by which a proxy is called that stands before the server and does not pass ``Host`` on.
    """

    def __init__(self, app: ASGIApp, *, names: Iterable[str] = ()) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["method"] in SAFE_METHODS or self._is_ours(scope):
            await self._app(scope, receive, send)
            return
        await refuse(Problem("foreign-origin", "the request comes from another site's page"), scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        if header(scope, b"sec-fetch-site") in {"cross-site", "same-site"}:
            return False
        origin = header(scope, b"origin")
        if origin is None:
            return True
        try:
            parts = urlsplit(origin)
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            return False
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:  # "null" is what a sandboxed page sends
            return False
        own = header(scope, b"host") or ""
        is_own_host = parts.hostname.removesuffix(".") == host_name(own) and port == (
            _port(own) or _DEFAULT_PORTS[parts.scheme]
        )
        return is_own_host or not self._names.isdisjoint((parts.hostname, parts.netloc.lower()))


def _port(authority: str) -> int | None:
    number = authority.rpartition(":")[2]
    return int(number) if number.isdecimal() and len(number) <= 5 else None
