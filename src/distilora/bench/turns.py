"""Contenders at work side by side: what every measurement in turn needs."""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import numpy as np

from distilora.bench.contenders import Labelled
from distilora.bench.processes import ContenderProbe, Opened
from distilora.bench.records import Spread

_LIBRARIES = ("distilora", "onnxruntime", "tokenizers", "numpy", "torch", "transformers")
Item = TypeVar("Item")


@dataclass(eq=False)
class Measured:
    """A contender at work in its process, and what has been measured of it so far."""

    name: str
    """What the user calls it."""
    probe: ContenderProbe
    opened: Opened
    labelled: Labelled
    memory_peak_mib: float
    """The most that its process has held while it was opened and answered all texts once."""
    round_seconds: list[float] = field(default_factory=list)
    """For all texts, round by round."""
    latency_seconds: defaultdict[int | None, list[float]] = field(default_factory=lambda: defaultdict(list))
    """For one text at a time, by its length in tokens; under ``None`` those of any length."""

    @property
    def texts_per_s(self) -> list[float]:
        """Return the texts a second of each round."""
        return [len(self.labelled.labels) / seconds for seconds in self.round_seconds]


def warmed_up(name: str, probe: ContenderProbe, *, tell: Callable[[str], None]) -> Measured:
    """Return a contender that has been opened in its process and has classified all texts once.

    Args:
        name: what the user calls it.
        probe: its process.
        tell: takes one line on what that took.

    Raises:
        DistiloraError: it cannot be opened, or its process has ended.
    """
    opened = probe.open()
    labelled, memory = probe.label()
    tell(f"{name}: opened in {opened.load_seconds:.2f} s, at most {memory:,.0f} MiB of memory")
    return Measured(name, probe, opened, labelled, memory)


def in_turn(items: Sequence[Item], number: int) -> list[Item]:
    """Return the items in the order of a round; each round begins with another, counted from 0.

    Example:
        >>> in_turn("abc", 0), in_turn("abc", 4)
        (['a', 'b', 'c'], ['b', 'c', 'a'])
    """
    start = number % len(items)
    return [*items[start:], *items[:start]]


def round_line(number: int, measured: Sequence[Measured]) -> str:
    """Return one line on how fast each contender was in the round that has just ended, counted from 0."""
    speeds = ", ".join(f"{one.name} {one.texts_per_s[-1]:,.0f} texts/s" for one in measured)
    return f"round {number + 1}: {speeds}"


@contextmanager
def texts_file(texts: Sequence[str]) -> Iterator[Path]:
    """Keep texts in a file for probes meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(list(texts)), encoding="utf-8")
        yield path


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and most of a figure over the rounds.

    Example:
        >>> spread([3.0, 1.0, 2.5]).median
        2.5
    """
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


def percentiles_ms(seconds: Sequence[float], ranks: Sequence[int]) -> list[float]:
    """Return percentiles of times in milliseconds.

    Example:
        >>> percentiles_ms([0.001, 0.002, 0.003], [0, 50])
        [1.0, 2.0]
    """
    return [float(value) * 1000 for value in np.percentile(seconds, ranks)]


def library_versions() -> dict[str, str]:
    """Return the version of Python and of each library that decides how fast a model is."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
