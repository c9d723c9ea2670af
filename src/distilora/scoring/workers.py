"""Several workers on the parts of one job: who is idle takes the next; one that vanishes is replaced, once a part."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Protocol

from distilora.errors import DataError, WorkerError
from distilora.scoring.parts import Part, PartDone, PartFailed

logger = logging.getLogger(__name__)


class VanishedError(WorkerError):
    """A worker is gone, and what it was at is not known to be done."""


class Worker(Protocol):
    """Scores one part after the other."""

    def score(self, part: Part) -> PartDone:
        """Return what came of a part that now is in the folder.

        Raises:
            VanishedError: the worker is gone.
            DataError: the part cannot be read.
            OSError: the part cannot be written.
        """

    def stop(self) -> None:
        """End it at once, so that :meth:`score` does too; another thread calls this."""

    def close(self) -> None:
        """End it, and give back what it holds."""


def run_parts(
    parts: Iterator[Part | PartFailed], start: Callable[[], Worker], *, workers: int
) -> Generator[PartDone | PartFailed, None, None]:
    """Yield what came of each part, as it comes.

    A part that cannot be read does not stop the others. One whose worker vanishes is given to a new worker, once. What
    else goes wrong, such as a full disk, ends all at once. No worker is left at the end, however it comes.

    Args:
        parts: are taken one at a time, when a worker is idle.
        start: begins a worker.
        workers: how many at once.

    Raises:
        WorkerError: two workers vanished at the same part; names it.
        OSError: a part cannot be written.
    """
    crew = _Crew(parts, start)
    threads = [threading.Thread(target=crew.work, name=f"distilora-part-{n}", daemon=True) for n in range(workers)]
    for thread in threads:
        thread.start()
    left = len(threads)
    try:
        while left:
            came = crew.came.get()
            if came is None:
                left -= 1
            elif isinstance(came, BaseException):
                raise came
            else:
                yield came
    finally:
        crew.stop()
        for thread in threads:
            thread.join()


class _Crew:
    """What the threads, one for each worker, have in common."""

    def __init__(self, parts: Iterator[Part | PartFailed], start: Callable[[], Worker]) -> None:
        self.came: SimpleQueue[PartDone | PartFailed | BaseException | None] = SimpleQueue()
        """What came of parts; what ends all; ``None`` for each thread that has nothing more to do."""
        self._parts = parts
        self._start = start
        self._taking = threading.Lock()
        self._changing = threading.Lock()
        self._workers: set[Worker] = set()
        self._stopped = False

    def work(self) -> None:
        """Take parts until there are none."""
        worker: Worker | None = None
        try:
            while (part := self._next()) is not None:
                if isinstance(part, PartFailed):
                    self.came.put(part)
                    continue
                worker = worker or self._begun()
                worker = self._work_on(part, worker)
            self.came.put(None)
        except BaseException as failure:
            self.came.put(failure)
        finally:
            if worker is not None:
                self._end(worker)

    def stop(self) -> None:
        """End all workers, whatever they are at."""
        with self._changing:
            self._stopped = True
            for worker in self._workers:
                worker.stop()

    def _next(self) -> Part | PartFailed | None:
        with self._taking:
            return None if self._stopped else next(self._parts, None)

    def _work_on(self, part: Part, worker: Worker) -> Worker:
        """Put what came of a part, and return the worker for the next."""
        try:
            self._score(part, worker)
        except VanishedError as first:
            self._end(worker)
            if self._stopped:
                return worker
            logger.warning("part %s: %s; tried once more", part.name, first)
            worker = self._begun()
            try:
                self._score(part, worker)
            except VanishedError as second:
                self._end(worker)
                raise WorkerError(
                    f"{part.name} (rows {part.rows_before + 1:,} to {part.rows_before + part.rows:,} of file "
                    f"{part.file + 1}): two workers vanished at it, one after the other: {second}; "
                    "what is done stays: the same command goes on"
                ) from None
            except BaseException:
                self._end(worker)
                raise
        return worker

    def _score(self, part: Part, worker: Worker) -> None:
        try:
            self.came.put(worker.score(part))
        except DataError as failure:
            self.came.put(PartFailed(problem=str(failure)))

    def _begun(self) -> Worker:
        worker = self._start()
        with self._changing:
            self._workers.add(worker)
            if self._stopped:
                worker.stop()
        return worker

    def _end(self, worker: Worker) -> None:
        with self._changing:
            self._workers.discard(worker)
        worker.close()
