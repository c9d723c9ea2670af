"""How far a scoring has come and how long it will take: a bar on a terminal, else a line from time to time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_LINE_EVERY_S = 10.0


@dataclass(frozen=True)
class Pace:
    """How fast rows were scored since this process began."""

    rows: int
    """Done, by earlier processes too."""
    share: float
    """Of the file that is done, from 0 to 1."""
    new_rows: int
    new_share: float
    seconds: float
    """Of this process."""

    def __str__(self) -> str:
        """Return it as words.

        Example:
            >>> print(Pace(rows=30_000, share=0.3, new_rows=20_000, new_share=0.2, seconds=10.0))
            30,000 rows, 30 %, 2,000 rows/s, 35 s left
        """
        done = f"{self.rows:,} rows, {self.share:.0%}".replace("%", " %")
        if not self.new_rows or self.seconds <= 0 or self.new_share <= 0:
            return done
        left = self.seconds * (1 - self.share) / self.new_share
        return f"{done}, {self.new_rows / self.seconds:,.0f} rows/s, {_duration(left)} left"


class Meter:
    """Knows where this process began, and shows every step from there."""

    def __init__(self, show: Callable[[Pace], None]) -> None:
        self._show = show
        self._began_at = time.monotonic()
        self._rows = 0
        self._share = 0.0

    def begin(self, rows: int, share: float) -> None:
        """Begin where an earlier process stopped."""
        self._began_at, self._rows, self._share = time.monotonic(), rows, share

    def advance(self, rows: int, share: float) -> None:
        """Show how far all processes together have come.

        Args:
            rows: of the file, done.
            share: of the file, from 0 to 1.
        """
        seconds = time.monotonic() - self._began_at
        self._show(Pace(rows, share, rows - self._rows, share - self._share, seconds))


@contextmanager
def shown_progress(name: str, *, tell: Callable[[str], None]) -> Iterator[Meter]:
    """Yield a meter that draws a bar on standard error, or where that is no terminal tells a line every ten seconds.

    Args:
        name: of the file, for both.
        tell: takes the lines.
    """
    if not sys.stderr.isatty():
        yield Meter(_Lines(name, tell))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=1.0, pace="")
        yield Meter(lambda pace: bar.update(task, completed=pace.share, pace=str(pace)))


class _Lines:
    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self._name = name
        self._tell = tell
        self._told_at = time.monotonic()

    def __call__(self, pace: Pace) -> None:
        if time.monotonic() - self._told_at >= _LINE_EVERY_S:
            self._told_at = time.monotonic()
            self._tell(f"{self._name}: {pace}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
