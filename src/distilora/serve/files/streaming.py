"""An answer that is sent while it is made, and whose work ends with it however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, suppress

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from distilora.serve.files.answering import BrokenOffError


class WorkResponse(StreamingResponse):
    """Sends what is yielded, then closes what was held for it: after the last byte, an error, or a client that left.

    Args:
        work: yields the body.
        held: closed behind the work, which may never have begun.
        patience_s: seconds in which the client must take each piece; one that does not has left, too.
        media_type: of the body.
        headers: more of them.
    """

    def __init__(
        self,
        work: AsyncGenerator[bytes, None],
        *,
        held: ExitStack,
        patience_s: float,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(work, media_type=media_type, headers=headers)
        self._work = work
        self._held = held
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; without its last piece where the work broke off, so that the server cuts the connection."""

        async def send_soon(message: Message) -> None:
            async with asyncio.timeout(self._patience_s):
                await send(message)

        try:
            with suppress(BrokenOffError, ClientDisconnect, TimeoutError):
                await super().__call__(scope, receive, send_soon)
        finally:
            with self._held:
                await self._work.aclose()
