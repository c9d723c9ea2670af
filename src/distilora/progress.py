"""How far work is that takes minutes, and how long it will go on."""

from __future__ import annotations

import time
from collections.abc import Callable

_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_READING_SECONDS = 1.0
"""A piece that took less was complete before, and says nothing of the others."""


class Progress:
    """Tells of each of several pieces of work as it is done, and about how long the others will take.

    Args:
        total: pieces of work.
        tell: takes one line.
    """

    def __init__(self, *, total: int, tell: Callable[[str], None]) -> None:
        self._total = total
        self._tell = tell
        self._done = 0
        self._worked = 0.0
        self._worked_seconds = 0.0
        self._last = time.monotonic()

    def tell_of(self, what: str, *, others: float = 0.0, before: float = 0.0) -> None:
        """Tell that one more is done, and what it came to.

        Args:
            what: it came to.
            others: how much has been done of pieces that are worked on at the same time, in pieces.
            before: how much of it was done before, from 0 to 1; where all was, however long it took to see that.
        """
        seconds, self._last = time.monotonic() - self._last, time.monotonic()
        self._done += 1
        if seconds > _READING_SECONDS and before < 1:
            self._worked += 1 - before
            self._worked_seconds += seconds
        each = self._worked_seconds / (self._worked + others) if self._worked else 0.0
        self._tell(f"{self._done}/{self._total} {what}{time_left((self._total - self._done - others) * each)}")


def time_left(seconds: float) -> str:
    """Return about how long something still takes, as the end of a sentence; nothing where it is done or not known.

    Example:
        >>> time_left(41), time_left(150), time_left(9000), time_left(0)
        ('; about 41 s left', '; about 2 min left', '; about 2.5 h left', '')
    """
    if seconds < _MINUTE:
        return f"; about {max(1, round(seconds))} s left" if seconds else ""
    if seconds < 2 * _HOUR:
        return f"; about {round(seconds / _MINUTE)} min left"
    return f"; about {seconds / _HOUR:.1f} h left"
