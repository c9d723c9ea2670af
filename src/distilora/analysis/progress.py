"""How far a measuring is that takes minutes, and how long it will go on."""

from __future__ import annotations

import time
from collections.abc import Callable

_MINUTE = 60.0


class Progress:
    """Tells of each of several pieces of work as it is done, and about how long the others will take.

    Args:
        total: pieces that have to be done.
        tell: takes one line.
    """

    def __init__(self, *, total: int, tell: Callable[[str], None]) -> None:
        self._total = total
        self._tell = tell
        self._done = 0
        self._begun = time.monotonic()

    def tell_of(self, what: str) -> None:
        """Tell that one more is done."""
        self._done += 1
        seconds = (time.monotonic() - self._begun) / self._done * (self._total - self._done)
        self._tell(f"{what}: {self._done}/{self._total} done{time_left(seconds)}")


def time_left(seconds: float) -> str:
    """Return about how long something still takes, as the end of a sentence; nothing where it is done.

    Example:
        >>> time_left(41), time_left(150), time_left(0)
        ('; about 41 s left', '; about 2 min left', '')
    """
    if seconds < _MINUTE:
        return f"; about {max(1, round(seconds))} s left" if seconds else ""
    return f"; about {round(seconds / _MINUTE)} min left"
