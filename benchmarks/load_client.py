"""Requests over keep-alive connections, as many as a small client can send: the other end of ``serve_load.py``.

A process of its own that reads one :class:`Job` as JSON from standard input and writes one :class:`Outcome` to standard
output. It needs the standard library alone, and does as little as it can for each answer, because it shares the
processors with the server that it measures: requests are bytes made beforehand, of an answer only the status, the
length and the number of labels are read.

*Closed loop*: every connection sends its next request when it has the answer to the last one. *Open loop* (``rate``):
so many requests a second whatever becomes of them; one that finds no free connection is counted and not sent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_TICK_S = 0.005
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_CONNECT_S = 5.0
_EXPIRY_S = 0.2


@dataclass(frozen=True)
class Job:
    """What to send."""

    host: str
    port: int
    path: str
    bodies: list[str]
    """JSON; taken in turn, over and over."""
    labels: int
    """How often ``"label"`` must stand in a right answer: once a text."""
    connections: int
    seconds: float
    rate: float | None = None
    """Requests a second of an open loop; absent: a closed one."""
    pause_s: float = 0.0
    """Between an answer and the next request of its connection."""
    answer_s: float = 30.0
    """An answer that takes longer is a fault."""
    key: str | None = None


class Answered(NamedTuple):
    """One request that was sent."""

    at_s: float
    """When, by the clock that all processes of a machine share."""
    took_ms: float
    """Until the last byte of the answer was there."""
    status: int
    """0: no answer, or a wrong one."""


@dataclass
class Outcome:
    """What came of a job."""

    began_s: float = 0.0
    """By the clock that all processes of a machine share."""
    seconds: float = 0.0
    """From the first request to the last answer."""
    unsent: int = 0
    """Requests of an open loop that found no free connection."""
    answers: list[Answered] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """Why there was no answer, or a wrong one."""
    processor_s: float = 0.0
    """That this process used."""


class Connection(asyncio.Protocol):
    """One connection, which holds one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._size: int | None = None
        self.sent_at: float | None = None
        """When the request in hand was sent; absent: there is none."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes) -> None:
        """Send a request."""
        assert self._transport is not None
        self._received, self._size = b"", None
        self.sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._received += data
        if self._size is None:
            end = self._received.find(_HEAD_END)
            if end < 0:
                return
            length = _length(self._received[:end].lower())
            if length is None or self.sent_at is None:
                self._give_up("not HTTP with a length")
                return
            self._size = end + len(_HEAD_END) + length
        if len(self._received) >= self._size:
            self._answered()

    def _answered(self) -> None:
        head = self._received[: self._received.find(_HEAD_END)].lower()
        began, self.sent_at = self.sent_at, None
        assert began is not None
        closes = b"\r\nconnection: close" in head
        if closes:
            self.close()
        self._load.answered(self, self._received, began=began, closes=closes)

    def connection_lost(self, exc: Exception | None) -> None:
        """See to a connection that the other side closed."""
        self._transport = None
        if self.sent_at is None:
            self._load.idle_lost(self)
        else:
            self._give_up("connection lost before the answer" if exc is None else type(exc).__name__)

    def expire(self, *, before: float) -> None:
        """Give up a request that was sent before a time."""
        if self.sent_at is not None and self.sent_at < before:
            self._give_up("no answer in time")

    def _give_up(self, why: str) -> None:
        began, self.sent_at = self.sent_at, None
        self.close()
        if began is not None:
            self._load.lost(self, why, began=began)

    def close(self) -> None:
        """End the connection."""
        self.sent_at = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def _length(head: bytes) -> int | None:
    at = head.find(_LENGTH)
    if at < 0 or not head.startswith(b"http/1."):
        return None
    value = head[at + len(_LENGTH) :].split(b"\r\n", 1)[0].strip()
    return int(value) if value.isdigit() else None


class Load:
    """The whole load of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._requests: Iterator[bytes] = itertools.cycle([_request(job, body) for body in job.bodies])
        self._all: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._outcome = Outcome()
        self._began = 0.0
        self._ends = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        """Return what came of it; ends ``answer_s`` after the last request at the latest."""
        await asyncio.gather(*(self._connect() for _ in range(self._job.connections)))
        self._began = time.perf_counter()
        self._ends = self._began + self._job.seconds
        self._start(self._expire())
        await (self._closed_loop() if self._job.rate is None else self._open_loop(self._job.rate))
        await self._last_answers()
        self._outcome.began_s = self._began
        self._outcome.seconds = time.perf_counter() - self._began
        for connection in self._all:
            connection.close()
        for task in self._tasks:
            task.cancel()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._outcome.processor_s = usage.ru_utime + usage.ru_stime
        return self._outcome

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, connection = await loop.create_connection(lambda: Connection(self), self._job.host, self._job.port)
        except OSError as error:  # TimeoutError is one
            self._outcome.faults[f"not connected: {type(error).__name__}"] += 1
            return
        self._all.add(connection)
        self._idle.append(connection)

    async def _closed_loop(self) -> None:
        for connection in list(self._idle):
            self._send(connection)
        self._idle.clear()
        await asyncio.sleep(self._job.seconds)

    async def _open_loop(self, rate: float) -> None:
        due = 0
        while (now := time.perf_counter()) < self._ends:
            for _ in range(int((now - self._began) * rate) - due):
                due += 1
                if self._idle:
                    self._send(self._idle.popleft())
                else:
                    self._outcome.unsent += 1
            await asyncio.sleep(_TICK_S)

    async def _last_answers(self) -> None:
        while any(connection.sent_at is not None for connection in self._all):
            await asyncio.sleep(_TICK_S)

    async def _expire(self) -> None:
        """Give up what takes too long, until this task is cancelled."""
        while True:
            await asyncio.sleep(_EXPIRY_S)
            before = time.perf_counter() - self._job.answer_s
            for connection in list(self._all):
                connection.expire(before=before)

    def _send(self, connection: Connection) -> None:
        connection.send(next(self._requests))

    def answered(self, connection: Connection, answer: bytes, *, began: float, closes: bool) -> None:
        """Count an answer, and send the next request of a closed loop."""
        status = int(answer[9:12])
        if status == 200 and answer.count(b'"label"') != self._job.labels:
            self._outcome.faults["an answer of another length"] += 1
            status = 0
        self._count(began, status)
        self._go_on(connection, closed=closes)

    def lost(self, connection: Connection, why: str, *, began: float) -> None:
        """Count a request without an answer."""
        self._outcome.faults[why] += 1
        self._count(began, 0)
        self._go_on(connection, closed=True)

    def _count(self, began: float, status: int) -> None:
        self._outcome.answers.append(Answered(began, (time.perf_counter() - began) * 1e3, status))

    def idle_lost(self, connection: Connection) -> None:
        """Open a connection anew that the server closed while nothing was asked."""
        if connection in self._all:
            if connection in self._idle:
                self._idle.remove(connection)
            self._go_on(connection, closed=True)

    def _go_on(self, connection: Connection, *, closed: bool) -> None:
        if closed:
            self._all.discard(connection)
        if time.perf_counter() >= self._ends:
            return
        if closed or (self._job.pause_s and self._job.rate is None):
            self._start(self._next(None if closed else connection))
        elif self._job.rate is None:
            self._send(connection)
        else:
            self._idle.append(connection)

    async def _next(self, connection: Connection | None) -> None:
        """Connect anew where that is needed, and send the next request of a closed loop after the pause."""
        await asyncio.sleep(self._job.pause_s)
        if connection is None:
            await self._connect()
            if self._job.rate is not None or not self._idle:
                return
            connection = self._idle.popleft()
        if connection in self._all and time.perf_counter() < self._ends:
            self._send(connection)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _request(job: Job, body: str) -> bytes:
    content = body.encode()
    key = f"Authorization: Bearer {job.key}\r\n" if job.key else ""
    head = (
        f"POST {job.path} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\nContent-Type: application/json\r\n"
        f"{key}Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def main() -> None:
    """Do the job of standard input."""
    outcome = asyncio.run(Load(Job(**json.load(sys.stdin))).run())
    json.dump(vars(outcome), sys.stdout)


if __name__ == "__main__":
    main()
