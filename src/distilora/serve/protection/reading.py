"""What several protections read from a request."""

from __future__ import annotations

from starlette.types import Scope

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing."""
OPEN_PATHS = frozenset(("/healthz", "/readyz"))
"""Addresses for what looks after the server: they tell nothing but whether it is well."""


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first value of a request's header, or nothing where it was not sent.

    Args:
        scope: of the request.
        name: in small letters.

    Example:
        >>> header({"headers": [(b"host", b"localhost:8000")]}, b"host")
        'localhost:8000'
    """
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def is_within(path: str, folder: str) -> bool:
    """Return whether an address is this folder or lies in it.

    Example:
        >>> is_within("/static/style.css", "/static"), is_within("/statics", "/static")
        (True, False)
    """
    return path == folder or path.startswith(f"{folder}/")


def request_id(scope: Scope) -> str:
    """Return the id under which the log holds this request; empty before it has one."""
    return str(scope.get("state", {}).get("request_id", ""))


def wants_page(scope: Scope) -> bool:
    """Return whether a person's browser asked, and for a page of ours.

    Example:
        >>> wants_page({"path": "/files", "headers": [(b"accept", b"text/html,*/*;q=0.8")]})
        True
    """
    path = scope["path"]
    for_programs = is_within(path, "/v1") or is_within(path, "/static") or path in OPEN_PATHS
    return not for_programs and "text/html" in (header(scope, b"accept") or "")
