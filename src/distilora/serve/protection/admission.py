"""Only so many requests are in hand at once; more are told to come again, before anything else is done for them."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from distilora.serve.problems import Problem, problem_response
from distilora.serve.protection.reading import OPEN_PATHS

_RETRY_AFTER_S = 1


class Admission:
    """Refuses what comes while ``most`` requests are in hand; questions after the server's health always pass.

    Args:
        app: what stands behind.
        most: requests that may be in hand at once.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most
        self._in_hand = 0
        problem = Problem("too-busy", "too many requests are in hand already", retry_after_s=_RETRY_AFTER_S)
        self._refusal = problem_response(problem)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
        elif self._in_hand >= self._most:
            await self._refusal(scope, receive, send)
        else:
            self._in_hand += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._in_hand -= 1
