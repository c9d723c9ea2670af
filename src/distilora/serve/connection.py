"""One connection of a client: uvicorn's, with an end to whatever a client can make it wait for or keep.

How long a head may be and take, how long an answer may wait to be read, how many requests may be sent ahead; and a
client that leaves takes its request along, so that no model works for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from distilora.serve.problems import Problem, problem_response
from distilora.serve.settings import Limits

HEAD_BYTES = 1 << 14
"""Of a request line and headers together."""
MOST_AHEAD = 32
"""Requests that a client may send before it has the answer to the first."""
_NOT_HTTP = "this is no HTTP request"
_LOG = logging.getLogger("distilora.serve.access")


class Connection(HttpToolsProtocol):
    """Reads requests and hands them to the application; ends where a client takes more than its share.

    Args:
        limits: how many connections there may be, and how long a head may take.
        uvicorn: what uvicorn gives to its own.
    """

    def __init__(self, *, limits: Limits, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._limits = limits
        self._application = self.app
        self.app = self._answer
        self._answering: asyncio.Task[Any] | None = None
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        """Runs from the connection, or the first byte of a request, until the head is there."""
        self._reader_timer: asyncio.TimerHandle | None = None
        """Runs while the client must read before anything more can happen."""
        self._upgrade: bytes | None = None
        """The request line of a head that asks for another protocol."""
        self._heeds = True
        """Whether anything more is read: not behind what was no request, nor behind too many of them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, unless there are too many connections already."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(Problem("unavailable", "too many connections are open", retry_after_s=1))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, and stop what is being done for it."""
        self._stop_waiting()
        self._stop_reader_timer()
        super().connection_lost(exc)
        self.app = self._application
        if self._answering is not None and not self.cycle.response_complete:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if not self._heeds:
            return
        was_waiting = self._head_timer
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_as_before(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Problem) else Problem("malformed", _NOT_HTTP))
        else:
            if was_waiting is not None and was_waiting is self._head_timer:
                self._count_head(len(data))

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._await_head()
        self._head_bytes += 1

    def on_headers_complete(self) -> None:
        """Hand the request to the application; its body may still be coming.

        Raises:
            Problem: through the parser, to where it was fed.
        """
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            raise _too_large()
        if self.parser.should_upgrade():
            self._upgrade = self._request_line()
            return
        self._stop_waiting()
        if len(self.pipeline) >= MOST_AHEAD:
            raise Problem("too-busy", "too many requests were sent ahead")
        super().on_headers_complete()
        if self.expect_100_continue:  # its client may leave the body away, and we could not tell it from the next
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """End a request, unless it is about to be read once more."""
        if self._upgrade is None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request; a connection that ends with this answer still has to give it away."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reader()

    def eof_received(self) -> None:
        """Take a client that will send nothing more for one that has left."""
        self._close()

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        if not self.transport.is_closing():
            self._stop_reader_timer()
        super().resume_writing()

    def shutdown(self) -> None:
        """Close as soon as what was asked is answered."""
        if self.cycle is None or self.cycle.response_complete:
            self._close()
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection on which nothing has been asked for long."""
        self._close()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self._answering = asyncio.current_task()
        try:
            await self._application(scope, receive, send)
        except asyncio.CancelledError:
            if not self.transport.is_closing():  # not the client has left: the server stops
                raise
        finally:
            self._answering = None

    def _request_line(self) -> bytes:
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise Problem("malformed", "the server is no proxy")
        return b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())

    def _go_on_as_before(self, rest: bytes) -> None:
        """Read a request once more without its wish for another protocol, as a server may (RFC 9110, section 7.8).

        With that wish the parser takes the request's body for what is said in the other protocol.
        """
        head, self._upgrade = [self._upgrade or b""], None
        head += [name + b": " + value for name, value in self.headers if name not in {b"upgrade", b"connection"}]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            head.append(b"connection: close")
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*head, b"", rest]))

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self._limits.body_s, self._give_up)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._refuse(_too_large())

    def _stop_waiting(self) -> None:
        self._unset_keepalive_if_required()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if self._head_bytes:
            self._refuse(Problem("slow-body", f"the headers did not come within {self._limits.body_s:g} seconds"))
        else:
            self._close()

    def _await_reader(self) -> None:
        if self._reader_timer is None:
            self._reader_timer = self.loop.call_later(self._limits.body_s, self.transport.abort)

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _refuse(self, problem: Problem) -> None:
        """Read no more, and say why where that cannot be taken for the answer to something else."""
        self._heeds = False
        self._stop_waiting()
        if self.transport.is_closing():
            return
        _LOG.info("- - %d - - %s", problem.status, self.client[0] if self.client else "-")
        asked = self.cycle
        if asked is not None and not asked.response_complete:
            if not asked.more_body:  # whole, and behind it came something else
                asked.keep_alive = False
                return
            asked.disconnected = True
            asked.message_event.set()
        begun = asked is not None and asked.response_started and not asked.response_complete
        if not (begun or self.pipeline):
            self.transport.write(_written(problem))
        self._close()

    def _close(self) -> None:
        """End as soon as the client has read what it was sent, or has had the time to."""
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.close()
            self._await_reader()


def _too_large() -> Problem:
    return Problem("head-too-large", f"more than {HEAD_BYTES:,} bytes came, and no end of the headers")


def _written(problem: Problem) -> bytes:
    response = problem_response(problem)
    head = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
    head += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*head, b"connection: close", b"", bytes(response.body)])
