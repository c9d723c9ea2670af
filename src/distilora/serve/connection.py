"""One connection of a client: uvicorn's, with an end to how large a request's head is and how long it takes to come."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from distilora.serve.problems import Problem, problem_response
from distilora.serve.settings import Limits

HEAD_BYTES = 1 << 14
"""Of a request line and headers together that have not come to their end."""


class Connection(HttpToolsProtocol):
    """Reads requests and hands them to the application; ends where a client takes more than its share.

    Args:
        limits: how many connections there may be, and how long a head may take.
        uvicorn: what uvicorn gives to its own.
    """

    def __init__(self, *, limits: Limits, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._limits = limits
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        """Runs from the connection, or the first byte of a request, until the head is there."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, unless there are too many connections already."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(Problem("unavailable", "too many connections are open", retry_after_s=1))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        super().data_received(data)
        if self._head_timer is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(Problem("head-too-large", f"more than {HEAD_BYTES:,} bytes came, and no end of the headers"))

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Hand the request to the application; its body may still be coming."""
        self._stop_waiting()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the same every time
        """Say that this is no request, and end."""
        self._refuse(Problem("malformed", "this is no HTTP request"))

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self._limits.body_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if self._head_bytes:
            self._refuse(Problem("slow-body", f"the headers did not come within {self._limits.body_s:g} seconds"))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer before there is a request, and end; a request that is still being answered is cut off."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        response = problem_response(problem)
        head = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
        head += [name + b": " + value for name, value in response.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"connection: close", b"", bytes(response.body)]))
        self.transport.close()
