"""Servers and loads as processes of their own, which end with the context that began them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from load_client import Answered, Job, Outcome

_CLIENT = Path(__file__).with_name("load_client.py")
_READY_S = 120.0
_STOP_S = 15.0
_POLL_S = 0.005
_SAMPLE_S = 0.1
_KIB_PER_MIB = 1024
_LAST_LINES = 5


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Server:
    """A server at a port of the loopback address, in a folder of its own, until the context is left.

    Args:
        command: that starts it.
        port: that it is told to listen on.
        path: of the address that takes ``{"texts": …}``.
    """

    def __init__(self, command: Sequence[str], *, port: int, path: str) -> None:
        self.port = port
        self.path = path
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name) / "said"
        self.began = time.perf_counter()
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(command, cwd=self._folder.name, stdout=said, stderr=said)

    def __enter__(self) -> Self:
        """Return the server; whether it is ready is another matter."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it: asked first, then killed."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def first_answer(self, body: str) -> float:
        """Return the seconds from the start of the process until it has answered once.

        Raises:
            SystemExit: it ended, or gave no answer in two minutes.
        """
        while time.perf_counter() - self.began < _READY_S:
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended with exit code {self._process.returncode}: {self.last_words()}")
            if self.answers(body):
                return time.perf_counter() - self.began
            time.sleep(_POLL_S)
        raise SystemExit(f"the server gave no answer in {_READY_S:.0f} s: {self.last_words()}")

    def answers(self, body: str) -> bool:
        """Return whether it takes a request and answers 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", self.path, body.encode(), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return answer.status == 200

    def last_words(self) -> str:
        """Return the last lines that it wrote."""
        lines = self._said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(lines[-_LAST_LINES:]) or "it said nothing"

    def memory_mib(self) -> float:
        """Return the memory that it holds now (resident)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / _KIB_PER_MIB

    def processor_s(self) -> float:
        """Return the processor time that it has used, user and system."""
        after_name = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


class MemoryWatch:
    """Samples of a server's memory, ten a second, until the context is left."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.samples_mib: list[float] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the last sample."""
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            try:
                self.samples_mib.append(self._server.memory_mib())
            except OSError:  # it has ended
                return
            if self._stop.wait(_SAMPLE_S):
                return

    def growth_mib(self) -> float | None:
        """Return by how much the median of the last third lies above that of the middle third.

        The first third is left out: there buffers find their size.
        """
        third = len(self.samples_mib) // 3
        if not third:
            return None
        return statistics.median(self.samples_mib[-third:]) - statistics.median(self.samples_mib[third : 2 * third])


def run_load(server: Server, **fields: Any) -> Outcome:
    """Return what came of a load, which a process of its own sends.

    Args:
        server: that is asked.
        fields: further ones of :class:`Job`.
    """
    with started_load(server, **fields) as outcome:
        return outcome()


@contextmanager
def started_load(server: Server, **fields: Any) -> Iterator[Callable[[], Outcome]]:
    """Begin a load and give what waits for its end; the process ends with the context.

    Args:
        server: that is asked.
        fields: further ones of :class:`Job`.
    """
    job = Job(host="127.0.0.1", port=server.port, path=server.path, **fields)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as asked:
        json.dump(asdict(job), asked)
        asked.seek(0)
        client = subprocess.Popen(
            [sys.executable, str(_CLIENT)], stdin=asked, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
    try:
        yield lambda: _outcome(client, limit_s=job.seconds + 2 * job.answer_s + _STOP_S)
    finally:
        client.kill()
        client.communicate()


def _outcome(client: subprocess.Popen[str], *, limit_s: float) -> Outcome:
    said, _ = client.communicate(timeout=limit_s)
    if client.returncode:
        raise SystemExit(f"the load's process ended with exit code {client.returncode}")
    found = json.loads(said)
    answers = [Answered(*answer) for answer in found["answers"]]
    return Outcome(**{**found, "answers": answers, "faults": Counter(found["faults"])})
