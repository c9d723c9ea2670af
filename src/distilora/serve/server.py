"""The server: opens everything, answers until it is told to stop, and then loses nobody."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn

from distilora.bundles.reading import is_bundle
from distilora.serve.application import create_app
from distilora.serve.batcher import Batcher
from distilora.serve.catalog import open_catalog
from distilora.serve.connection import Connection
from distilora.serve.feedback.store import open_feedback
from distilora.serve.listening import ACCEPTED_AT_ONCE, BACKLOG, listen, room_for, shown_address, stop_new_connections
from distilora.serve.metrics import Metrics
from distilora.serve.settings import ServeSettings
from distilora.serve.state import Served

FEEDBACK_FILE = "feedback.sqlite3"
_KEEP_ALIVE_S = 75
"""Seconds for which an idle connection is kept: longer than proxies keep theirs (60 s), so that they end it, not we."""
_LAST_ACCEPTS_S = 0.1
"""Seconds for those who are connected already to be accepted and to send their request."""
_KILLED = 130
Tell = Callable[[str], None]


def run_server(
    paths: Sequence[Path], settings: ServeSettings, *, tell: Tell = print, when_ready: Tell | None = None
) -> None:
    """Serve bundles and experiments until SIGTERM or Ctrl-C, then answer what was taken and return.

    Args:
        paths: folders of bundles or experiments.
        settings: where to listen, who may ask, what is kept.
        tell: gets what a person should know, line by line.
        when_ready: gets the server's address as soon as it answers.

    Raises:
        ConfigError: the address or port cannot be used.
        DistiloraError: no model, or the feedback, cannot be opened.
    """
    with listen(settings.host, settings.port) as listener:
        served = _open(paths, settings)
        server = _Server(served, listener, tell=tell, when_ready=when_ready)
        asyncio.run(_serve(server, served))


def feedback_beside(paths: Sequence[Path]) -> Path:
    """Return where feedback is kept unless something else is said: in the first experiment, else where we are."""
    experiments = (path for path in paths if not is_bundle(path))
    return next(experiments, Path()) / FEEDBACK_FILE


def can_be_written(database: Path) -> bool:
    """Return whether a SQLite file and what SQLite puts beside it can be written."""
    is_free = not database.exists() or os.access(database, os.W_OK)
    return is_free and os.access(database.parent, os.W_OK | os.X_OK)


def _open(paths: Sequence[Path], settings: ServeSettings) -> Served:
    limits, metrics = settings.limits, Metrics()
    catalog = open_catalog(paths)
    feedback = None if settings.feedback is None else open_feedback(settings.feedback, most_rows=limits.feedback_rows)
    batcher = Batcher(
        threads=settings.threads, queue_texts=limits.queue_texts, deadline_s=limits.deadline_s, metrics=metrics
    )
    return Served(settings=settings, catalog=catalog, batcher=batcher, metrics=metrics, feedback=feedback)


async def _serve(server: _Server, served: Served) -> None:
    try:
        await server.serve(sockets=[server.listener])
    finally:
        await served.batcher.close()
        if served.feedback is not None:
            served.feedback.close()


class _Server(uvicorn.Server):
    """uvicorn, which goes on answering for a while after it was told to stop.

    Args:
        served: what stands behind the application.
        listener: accepts connections.
        tell: gets what a person should know.
        when_ready: gets the address as soon as requests are answered.
    """

    def __init__(self, served: Served, listener: socket.socket, *, tell: Tell, when_ready: Tell | None) -> None:
        super().__init__(_config(served))
        self.listener = listener
        self._served = served
        self._tell = tell
        self._when_ready = when_ready
        self._drain_s = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so."""
        await super().startup(sockets)
        self.listener.listen(BACKLOG)  # asyncio has made it as short as what it accepts at once
        port = self.listener.getsockname()[1]
        for line in ready_lines(self._served, port=port):
            self._tell(line)
        if self._when_ready is not None:
            self._when_ready(address_of(self._served.settings, port=port))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to stop: SIGTERM waits for proxies to see it, Ctrl-C does not, a second Ctrl-C ends at once."""
        if self.should_exit and sig == signal.SIGINT:
            sys.stdout.flush()
            os._exit(_KILLED)
        if sig == signal.SIGTERM:
            self._drain_s = self._served.settings.drain_s
        self._served.phase.draining = True
        self.should_exit = True

    async def main_loop(self) -> None:
        """Answer until it is told to stop, and for as long after as it was told to."""
        await super().main_loop()
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._drain_s
        while loop.time() < ends:
            await asyncio.sleep(min(0.1, max(0, ends - loop.time())))
            await self.on_tick(0)  # renews the answers' Date
        stop_new_connections(self.listener)
        await asyncio.sleep(_LAST_ACCEPTS_S)


def _config(served: Served) -> uvicorn.Config:
    limits = served.settings.limits
    limits = limits.model_copy(update={"connections": room_for(limits.connections)})
    return uvicorn.Config(
        create_app(served),
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,  # it would hold query strings; ours does not
        server_header=False,
        proxy_headers=False,
        http=cast("type[asyncio.Protocol]", partial(Connection, limits=limits)),
        ws="none",
        lifespan="on",
        backlog=ACCEPTED_AT_ONCE,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(limits.deadline_s) + 5,
    )


def address_of(settings: ServeSettings, *, port: int) -> str:
    """Return the address under which a browser on this machine finds the server.

    Example:
        >>> address_of(ServeSettings(host="0.0.0.0"), port=80)
        'http://127.0.0.1:80'
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - shown, not bound
    return f"http://{shown_address(host, port)}"


def ready_lines(served: Served, *, port: int) -> list[str]:
    """Return what a person should know of a server that has begun to answer."""
    settings, catalog = served.settings, served.catalog
    models = "1 model" if len(catalog.models) == 1 else f"{len(catalog.models)} models"
    lines = [f"distilora serves {models} at {address_of(settings, port=port)} (Ctrl-C stops)"]
    lines += [f"  not served: {missing.name}: {missing.reason}" for missing in catalog.unavailable]
    if settings.feedback is not None:
        lines.append(f"  feedback: {_without_password(settings.feedback)}")
    if settings.api_key is None and not _is_loopback(settings.host):
        lines.append(f"  warning: whoever reaches {settings.host} may use it; set a key with --api-key-file")
    return lines


def _without_password(where: str) -> str:
    """Return a database's address without who signs in there."""
    scheme, divider, rest = where.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if divider else where


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
