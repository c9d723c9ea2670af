"""Workers on this machine: processes of one thread each, or this process itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.machine import usable_processors
from distilora.scoring.part_scoring import Order, PartScorer
from distilora.scoring.parts import Part, PartDone
from distilora.scoring.worker import read_reply, reply_to
from distilora.scoring.workers import VanishedError, Worker

_LAST_WORDS_S = 5.0
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Crew:
    """What an engine works with while it is open."""

    start: Callable[[], Worker]
    workers: int


@dataclass(frozen=True)
class LocalEngine:
    """This machine; two workers of one thread get through more than one of two threads, and share nothing."""

    workers: int | None = None
    """Absent: as many as processors that this process may use."""
    name: str = "local"

    @contextmanager
    def opened(self, bundle: Bundle, order: Order) -> Iterator[Crew]:
        """Yield what begins a worker, and how many are to be."""
        yield Crew(lambda: ProcessWorker(bundle.path, order), self.workers or usable_processors())


@dataclass(frozen=True)
class InlineEngine:
    """This process, for places that no other process can see."""

    name: str = "local"

    @contextmanager
    def opened(self, bundle: Bundle, order: Order) -> Iterator[Crew]:
        """Yield what begins the one worker."""
        opened = bundle if bundle.threads == 1 else open_bundle(bundle.path, threads=1)
        yield Crew(lambda: InlineWorker(PartScorer(opened, order)), 1)


class InlineWorker:
    """Works in the thread that asks: for places that no other process can see.

    Args:
        scorer: what scores.
    """

    def __init__(self, scorer: PartScorer) -> None:
        self._scorer = scorer

    def score(self, part: Part) -> PartDone:
        """As of :class:`Worker`."""
        return read_reply(reply_to(self._scorer, part.model_dump_json()))

    def stop(self) -> None:
        """Do nothing: it ends with its part."""

    def close(self) -> None:
        """Do nothing: it has nothing of its own."""


class ProcessWorker:
    """A process of this machine, of one thread.

    Args:
        bundle: folder of the bundle.
        order: what it is told before its first part.

    Raises:
        VanishedError: it ended before it was ready.
        DistiloraError: the bundle cannot be opened.
    """

    def __init__(self, bundle: Path, order: Order) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process; a pipe could fill up
        self._process = subprocess.Popen(
            [sys.executable, "-m", "distilora.scoring.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, **_ONE_THREAD, "TOKENIZERS_PARALLELISM": "false"},
            start_new_session=True,  # Ctrl-C is for the one that asks, which ends this one
        )
        self.pid: int = self._process.pid
        """Of the process."""
        self._questions = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        try:
            ready = self._ask(json.dumps({"bundle": str(bundle), "order": order.model_dump(mode="json")}))
            if not json.loads(ready).get("ready"):
                read_reply(ready)
        except BaseException:
            self.close()
            raise

    def score(self, part: Part) -> PartDone:
        """As of :class:`Worker`."""
        return read_reply(self._ask(part.model_dump_json()))

    def stop(self) -> None:
        """As of :class:`Worker`."""
        self._process.kill()

    def close(self) -> None:
        """As of :class:`Worker`."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # of a line that it never took
            self._questions.close()
        self._answers.close()
        self._complaints.close()

    def _ask(self, line: str) -> bytes:
        answer = b""
        with suppress(OSError, ValueError):  # it is gone
            self._questions.write(line.encode() + b"\n")
            self._questions.flush()
            answer = self._answers.readline()
        if not answer.endswith(b"\n"):  # it ended, perhaps in the middle of an answer
            raise VanishedError(self._last_words())
        return answer

    def _last_words(self) -> str:
        try:
            code = self._process.wait(timeout=_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"worker process {self._process.pid} {how}: {said[-1] if said else 'was there memory enough?'}"
