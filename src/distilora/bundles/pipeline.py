"""Work in two steps, the first of the next job beside the second of this one, and answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

READ_AHEAD = 2
"""Jobs begun beyond the one whose answer is awaited: one that runs, one that is being prepared."""

Part = TypeVar("Part")
Answer = TypeVar("Answer")
Mark = TypeVar("Mark")


@dataclass(frozen=True)
class Prepared(Generic[Part, Answer]):
    """A job's second step: tasks that may run at once, and what makes one answer of theirs."""

    tasks: Sequence[Callable[[], Part]]
    finish: Callable[[Sequence[Part]], Answer]

    def run(self) -> Answer:
        """Return the answer, worked out in this thread."""
        return self.finish([task() for task in self.tasks])


def overlapped(
    jobs: Iterable[tuple[Mark, Callable[[], Prepared[Part, Answer]]]], *, threads: int
) -> Generator[tuple[Mark, Answer], None, None]:
    """Yield the answer of each job behind its mark, in order.

    One thread prepares jobs, ``threads`` others run their tasks; this one takes jobs, never more than ``READ_AHEAD``
    beyond the answer that it yields next. What a job or ``jobs`` raises is raised here. No thread is left after that,
    nor after the iterator is closed.

    Example:
        >>> def double(number):
        ...     return Prepared([lambda: number, lambda: number], sum)
        >>> list(overlapped([("a", lambda: double(1)), ("b", lambda: double(2))], threads=2))
        [('a', 2), ('b', 4)]
    """
    with _pool(threads, "distilora-model") as running, _pool(1, "distilora-tokens") as preparing:

        def start(prepare: Callable[[], Prepared[Part, Answer]]) -> _Started[Part, Answer]:
            prepared = prepare()
            return _Started(prepared, [running.submit(task) for task in prepared.tasks])

        begun: deque[tuple[Mark, Future[_Started[Part, Answer]]]] = deque()
        for mark, prepare in jobs:
            begun.append((mark, preparing.submit(start, prepare)))
            if len(begun) > READ_AHEAD:
                yield _oldest(begun)
        while begun:
            yield _oldest(begun)


@dataclass(frozen=True)
class _Started(Generic[Part, Answer]):
    prepared: Prepared[Part, Answer]
    parts: list[Future[Part]]


def _oldest(begun: deque[tuple[Mark, Future[_Started[Part, Answer]]]]) -> tuple[Mark, Answer]:
    mark, future = begun.popleft()
    started = future.result()
    return mark, started.prepared.finish([part.result() for part in started.parts])


@contextmanager
def _pool(threads: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Yield threads that, at the end, finish what they are at and drop what waits."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
