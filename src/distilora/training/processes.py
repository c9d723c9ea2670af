"""The processes that train one model together, as ``torchrun`` or ``accelerate launch`` started them.

One process is the ordinary case: then every function here does what its argument does and imports nothing. With
several, all of them run the same program and must come to the same calls here in the same order. Only the main one
writes; the others learn what it found. What one of them cannot do fails on all, so that none waits for another that is
gone.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from distilora.errors import DistiloraError, WorkerError

Found = TypeVar("Found")
MAIN = 0
"""Number of the main process."""
_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where launchers say how many processes there are."""
_PATIENCE = timedelta(days=2)
"""How long one process waits for another that is at work alone: on a report, or on a long download."""


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many."""

    rank: int
    """Number of this process, from 0."""
    count: int

    @property
    def is_main(self) -> bool:
        """Return whether this is the process that writes and tells."""
        return self.rank == MAIN


@dataclass(frozen=True)
class _Failed:
    """An error on one process, on its way to the others."""

    error: DistiloraError


ALONE = Processes(MAIN, 1)


def started_together() -> bool:
    """Return whether a launcher says that this is one of several processes; nothing is imported to know it."""
    return any(os.environ.get(name, "1") not in ("", "0", "1") for name in _COUNTS)


def processes() -> Processes:
    """Return which process this is, of how many.

    Example:
        >>> processes()
        Processes(rank=0, count=1)
    """
    return _joined() if started_together() else ALONE


@cache
def _joined() -> Processes:
    """Meet the other processes, once."""
    import torch
    from accelerate import PartialState

    # Whoever asks for this state later, as transformers does, finds the group that is made here.
    forced = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    state = PartialState(cpu=forced or not torch.cuda.is_available())
    if torch.distributed.is_initialized():
        atexit.register(torch.distributed.destroy_process_group)
    return Processes(state.process_index, state.num_processes)


@cache
def _group() -> Any:
    """Return the group for words, beside the one for gradients: on processors, and with patience."""
    import torch.distributed

    return torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)


def _exchanged(value: Any) -> list[Any]:
    """Return what each process says, by its number."""
    import torch.distributed

    said: list[Any] = [None] * processes().count
    torch.distributed.all_gather_object(said, value, group=_group())
    return said


def _tried(function: Callable[[], Found]) -> Found | _Failed:
    try:
        return function()
    except DistiloraError as error:
        return _Failed(error)
    except Exception as error:
        raise_there = WorkerError(f"process {processes().rank} of {processes().count}: {type(error).__name__}: {error}")
        _exchanged(_Failed(raise_there))  # the others must not wait; here it goes on as what it is
        raise


def _raised(said: list[Any]) -> None:
    """Raise the first error that any process has met; on the others it counts as told."""
    for rank, answer in enumerate(said):
        if isinstance(answer, _Failed):
            answer.error.is_echo = rank != processes().rank
            raise answer.error


def by_main(function: Callable[[], Found]) -> Found:
    """Return what ``function`` returns on the main process, which alone calls it; its error is raised on all.

    Args:
        function: what it returns or raises must pass from process to process.

    Raises:
        WorkerError: on the others, where the main process failed for no reason that a user can mend.

    Example:
        >>> by_main(lambda: 3)
        3
    """
    here = processes()
    if here.count == 1:
        return function()
    said = _exchanged(_tried(function) if here.is_main else None)
    _raised(said)
    found: Found = said[MAIN]
    return found


def on_all(function: Callable[[], Found]) -> Found:
    """Return what ``function`` returns here, once it has ended on every process; an error on one is raised on all.

    Args:
        function: must not exchange anything itself.

    Raises:
        WorkerError: where another process failed for no reason that a user can mend.

    Example:
        >>> on_all(lambda: 3)
        3
    """
    if processes().count == 1:
        return function()
    found = _tried(function)
    _raised(_exchanged(found if isinstance(found, _Failed) else None))
    return found  # type: ignore[return-value] # a failure has been raised


def main_first(function: Callable[[], Found]) -> Found:
    """Return what ``function`` returns here: the main process calls it first, and what it writes the others read.

    Args:
        function: must not exchange anything itself.

    Example:
        >>> main_first(lambda: 3)
        3
    """
    here = processes()
    if here.count == 1:
        return function()
    found = _tried(function) if here.is_main else None
    _raised(_exchanged(found if isinstance(found, _Failed) else None))
    return on_all(lambda: found if here.is_main else function())  # type: ignore[return-value] # found, for the main one


@contextmanager
def held_by_main(holding: AbstractContextManager[None]) -> Iterator[None]:
    """Let the main process alone enter ``holding`` meanwhile; where it cannot, all fail."""
    with ExitStack() as stack:
        by_main(lambda: stack.enter_context(holding))
        yield


def told_once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Return what tells on the main process, and is silent on the others."""
    return tell if processes().is_main else lambda _: None


def wait_for_all() -> None:
    """Wait until every process has come here."""
    if processes().count > 1:
        _exchanged(None)


def from_all(value: Found) -> list[Found]:
    """Return the value of each process, by its number.

    Example:
        >>> from_all(3)
        [3]
    """
    return [value] if processes().count == 1 else _exchanged(value)
