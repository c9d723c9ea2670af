"""The server answers only to its own names, so that no stranger's name can be pointed at it (DNS rebinding).

Source: OWASP, https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from distilora.serve.failures import refuse
from distilora.serve.problems import Problem
from distilora.serve.protection.reading import OPEN_PATHS

_AUTHORITY = re.compile(r"(?:\[(?P<number>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?")
_LOCAL = ("localhost", "127.0.0.1", "::1")


class KnownHosts:
    """Refuses a request whose ``Host`` is none of the server's names, on whatever port.

    Args:
        app: what stands behind.
        bound: address that the server listens on.
        names: further names of the server; one with a port is allowed on that port alone.
    """

    def __init__(self, app: ASGIApp, *, bound: str, names: Iterable[str] = ()) -> None:
        self._app = app
        self._known = {*_LOCAL, bound.lower().strip("[]"), *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        hosts = [str(value, "latin-1") for name, value in scope["headers"] if name == b"host"]
        if scope["path"] in OPEN_PATHS or (len(hosts) == 1 and self._knows(hosts[0], scope)):
            await self._app(scope, receive, send)
            return
        unknown = Problem("unknown-host", "the request's header Host names no host that this server answers to")
        await refuse(unknown, scope, receive, send)

    def _knows(self, host: str, scope: Scope) -> bool:
        name = host_name(host)
        if name in self._known or (name and host.lower() in self._known):
            return True
        # A number cannot be pointed elsewhere: on 0.0.0.0 each address of this machine is the server's.
        server = scope.get("server")
        return bool(name) and server is not None and name == server[0]


def host_name(authority: str) -> str:
    """Return the name in a ``Host`` without its port, in small letters; empty where it is not one.

    Example:
        >>> host_name("LocalHost:8000"), host_name("[::1]:8000"), host_name("me@evil.example")
        ('localhost', '::1', '')
    """
    found = _AUTHORITY.fullmatch(authority.lower())
    return (found["number"] or found["name"].removesuffix(".")) if found else ""
