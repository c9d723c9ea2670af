"""While the server drains, every answer closes its connection: the client's next request finds another server."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distilora.serve.state import Phase


class Draining:
    """Adds ``Connection: close`` to answers from the moment on in which the server was told to stop.

    Args:
        app: what stands behind.
        phase: of the server's life.
    """

    def __init__(self, app: ASGIApp, *, phase: Phase) -> None:
        self._app = app
        self._phase = phase

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and close where it is time to."""

        async def send_and_close(message: Message) -> None:
            if self._phase.draining and message["type"] == "http.response.start":
                others = [pair for pair in message.get("headers", ()) if pair[0] != b"connection"]
                message["headers"] = [*others, (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_and_close)
