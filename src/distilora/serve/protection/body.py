"""A request's body must be small enough, and must come soon enough."""

from __future__ import annotations

import asyncio
import math

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distilora.serve.failures import refuse
from distilora.serve.problems import Problem
from distilora.serve.protection.reading import header
from distilora.serve.settings import Limits

FILE_PATHS = frozenset(("/v1/files", "/files"))
FRAME_BYTES = 1 << 16
"""Room around a file for its multipart form and the form's other fields."""


class BodyLimit:
    """Refuses a body that says it is too large, and stops reading one that turns out to be, or that does not come.

    Args:
        app: what stands behind.
        limits: how much, and how long.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that is watched, or refuse it."""
        length = header(scope, b"content-length")
        if not (length or header(scope, b"transfer-encoding")):
            await self._app(scope, receive, send)
            return
        most = self._limits.file_bytes + FRAME_BYTES if scope["path"] in FILE_PATHS else self._limits.body_bytes
        if length and (not length.isdecimal() or int(length[:20]) > most):
            await refuse(_too_large(most), scope, receive, send)
            return
        await self._app(scope, _Body(receive, most=most, seconds=self._limits.body_s), send)


class _Body:
    """Reads a body and says so when it is too large or too slow."""

    def __init__(self, receive: Receive, *, most: int, seconds: float) -> None:
        self._receive = receive
        self._most = most
        self._seconds = seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._bytes = 0
        self._ended = False

    async def __call__(self) -> Message:
        if self._ended:  # waiting now for the client to leave, which may take as long as the answer
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise _too_slow(self._seconds) from None
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._bytes > self._most:
            raise _too_large(self._most)
        return message


def _too_large(most: int) -> Problem:
    return Problem("body-too-large", f"the body is larger than {most:,} bytes, which is the most that is read here")


def _too_slow(seconds: float) -> Problem:
    detail = f"the body did not come within {math.ceil(seconds)} s"
    return Problem("slow-body", detail, headers={"Connection": "close"})
