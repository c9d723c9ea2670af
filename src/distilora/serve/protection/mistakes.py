"""The server's own mistakes: a problem for the client, the place in the log, and no comment in either."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distilora.serve.failures import refuse
from distilora.serve.problems import Problem
from distilora.serve.protection.reading import request_id
from distilora.serve.state import Phase

_LOG = logging.getLogger("distilora.serve.mistakes")


class Mistakes:
    """Answers what nothing else has answered.

    Args:
        app: what stands behind.
        phase: of the server's life; requests that are cut off at its end are told so.
        with_messages: whether the log may hold the exceptions' own words, which may quote a comment.
    """

    def __init__(self, app: ASGIApp, *, phase: Phase, with_messages: bool = False) -> None:
        self._app = app
        self._phase = phase
        self._with_messages = with_messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens."""
        started = False

        async def send_and_see(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except (Exception, asyncio.CancelledError) as error:
            problem = self._problem_of(error, scope)
            if problem is None:
                raise
            if not started:  # else the connection is closed: nobody may take half an answer for a whole one
                await refuse(problem, scope, receive, send)

    def _problem_of(self, error: BaseException, scope: Scope) -> Problem | None:
        """Return what the client is told; nothing where the request itself was given up."""
        if isinstance(error, Problem):
            return error
        if isinstance(error, asyncio.CancelledError):
            return Problem("unavailable", "the server is stopping", retry_after_s=1) if self._phase.draining else None
        lines = "".join(_lines(error, with_messages=self._with_messages))
        identity = request_id(scope)
        _LOG.error("request %s: %s", identity, lines)
        return Problem("failed", f"the server made a mistake; its log tells of it under {identity}")


def _lines(mistake: BaseException, *, with_messages: bool) -> Iterator[str]:
    """Yield a traceback's lines, the cause's first; without the messages unless they are allowed."""
    if with_messages:
        yield from traceback.format_exception(mistake)
        return
    earlier = mistake.__cause__ or (None if mistake.__suppress_context__ else mistake.__context__)
    if earlier is not None:
        yield from _lines(earlier, with_messages=False)
        yield "\nwhich led to\n\n"
    yield f"{type(mistake).__module__}.{type(mistake).__qualname__}\n"
    yield from traceback.format_tb(mistake.__traceback__)
