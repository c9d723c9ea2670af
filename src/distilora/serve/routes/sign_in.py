"""Signing in: a person gives the API key once, and the browser gets a cookie that stands for it."""

from __future__ import annotations

import logging
import time
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from distilora.serve.page.rendering import render
from distilora.serve.problems import Problem
from distilora.serve.protection.keys import COOKIE, COOKIE_S, Gate, gate_for
from distilora.serve.state import Served, State

router = APIRouter(include_in_schema=False)

_LOG = logging.getLogger(__name__)
_TRIES = 10
"""Wrong keys that are answered at once; then one in _SECONDS_A_TRY, whoever sends them."""
_SECONDS_A_TRY = 6.0
_LONGEST_KEY = 1024


class WrongTries:
    """How many wrong keys may still be tried now.

    Example:
        >>> tries = WrongTries()
        >>> [tries.take(now_s=0) for _ in range(11)].count(True), tries.take(now_s=6)
        (10, True)
    """

    def __init__(self) -> None:
        self._left = float(_TRIES)
        self._seen_s: float | None = None

    def take(self, *, now_s: float | None = None) -> bool:
        """Return whether one more may be tried, and count it."""
        now = time.monotonic() if now_s is None else now_s
        gained = 0.0 if self._seen_s is None else (now - self._seen_s) / _SECONDS_A_TRY
        self._left, self._seen_s = min(_TRIES, self._left + gained), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@router.get("/sign-in")
async def ask(request: Request, served: State, next: str = "/") -> Response:  # noqa: A002 - the address' own word
    """Show the form."""
    if served.settings.api_key is None:
        return RedirectResponse(local_path(next), 303)
    return render(request, "sign_in.html", next=local_path(next), refused=False)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    served: State,
    key: Annotated[str, Form(max_length=_LONGEST_KEY)] = "",
    next: Annotated[str, Form()] = "/",  # noqa: A002
) -> Response:
    """Set the cookie where the key is right, and lead on."""
    gate = _gate(served)
    if gate is None:
        return RedirectResponse(local_path(next), 303)
    if not gate.opens_to(key.strip()):
        return _refused(request, next_path=local_path(next))
    answer = RedirectResponse(local_path(next), 303)
    answer.set_cookie(
        COOKIE,
        gate.cookie(),
        max_age=COOKIE_S,
        path="/",
        httponly=True,
        samesite="strict",
        secure=_is_encrypted(request),
    )
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Take the cookie away."""
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=_is_encrypted(request))
    return answer


def local_path(wanted: str) -> str:
    r"""Return an address of this server to go on to; anything else becomes the first page.

    Example:
        >>> local_path("/files?sort=1"), local_path("//evil.example"), local_path("/\\evil.example")
        ('/files?sort=1', '/', '/')
    """
    is_local = wanted.startswith("/") and not wanted.startswith("//")
    return wanted if is_local and wanted.isascii() and wanted.isprintable() and "\\" not in wanted else "/"


def _gate(served: Served) -> Gate | None:
    key = served.settings.api_key
    return None if key is None else gate_for(key.get_secret_value())


def _refused(request: Request, *, next_path: str) -> Response:
    """Say that the key is wrong, or, after too many of them, that it is too early for the next one."""
    state = request.app.state
    if not hasattr(state, "wrong_tries"):
        state.wrong_tries = WrongTries()
    if not state.wrong_tries.take():
        raise Problem("too-busy", "too many wrong keys were tried", retry_after_s=round(_SECONDS_A_TRY))
    _LOG.warning("wrong key from %s", request.client.host if request.client else "-")
    return render(request, "sign_in.html", status=401, next=next_path, refused=True)


def _is_encrypted(request: Request) -> bool:
    """Return whether the browser came by https, be it to a proxy: it says so in ``Origin``."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:")
