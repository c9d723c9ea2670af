"""What was asked, word for word: only where the setting ``log_texts`` allows it."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distilora.serve.protection.body import FILE_PATHS
from distilora.serve.protection.reading import request_id

_LOG = logging.getLogger("distilora.serve.texts")
_NEVER = FILE_PATHS | {"/sign-in"}
"""Bodies that are too large, or hold the key."""


class TextLog:
    """Logs each request's body as it came, under the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and log what was asked."""
        if scope["path"] in _NEVER:
            await self._app(scope, receive, send)
            return
        parts: list[bytes] = []

        async def receive_and_keep() -> Message:
            message = await receive()
            parts.append(message.get("body", b""))
            return message

        try:
            await self._app(scope, receive_and_keep, send)
        finally:
            if asked := b"".join(parts):
                _LOG.info("%s %r", request_id(scope), asked.decode("utf-8", "replace"))
