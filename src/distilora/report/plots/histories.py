"""From the histories of runs to lines: their points, not too many of them, the mean of several runs, and colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np

from distilora.runs import HistoryEntry, RunRecord

MOST_POINTS = 200
Curve = list[tuple[float, float]]
"""Points of epoch or step, and value."""
Value = Callable[[HistoryEntry], float | None]
_TERM_COLOURS = {
    "hard": "#4477AA",
    "soft": "#CC3311",
    "cosine_logits": "#228833",
    "cosine_hidden": "#AA3377",
    "hidden": "#997700",
    "attention": "#33BBEE",
    "relations": "#774411",
    "lora": "#5566AA",
    "r_drop": "#EE7733",
}
_OTHER_TERMS = ("#555555", "#AA4499", "#117733", "#88CCEE")


def term_colours(terms: Iterable[str]) -> dict[str, str]:
    """Return the colour of each loss term, the same in every figure for those that are known."""
    others = [term for term in terms if term not in _TERM_COLOURS]
    further = {term: _OTHER_TERMS[index % len(_OTHER_TERMS)] for index, term in enumerate(others)}
    return _TERM_COLOURS | further


def curve(
    history: Sequence[HistoryEntry],
    part: Literal["train", "validation"],
    value: Value,
    *,
    along: Literal["epoch", "step"] = "epoch",
) -> Curve:
    """Return the points of one run at which a value is known and finite.

    Args:
        history: of the run.
        part: which of its entries.
        value: of an entry; absent where it has none.
        along: what stands for the time.
    """
    points = [(float(getattr(entry, along)), value(entry)) for entry in history if entry.part == part]
    return [(time, known) for time, known in points if known is not None and math.isfinite(known)]


def thinned(points: Curve) -> Curve:
    """Return the means of equal stretches, so that a long training does not make a heavy figure."""
    if len(points) <= MOST_POINTS:
        return points
    return [tuple(stretch.mean(axis=0)) for stretch in np.array_split(np.asarray(points), MOST_POINTS)]


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean of several runs at the times that all of them have: no run that stopped early moves its end.

    Example:
        >>> mean_curve([[(1, 0.5), (2, 0.7)], [(1, 0.3)]])
        [(1, 0.4)]
    """
    values = [dict(points) for points in curves]
    times = [time for time in values[0] if all(time in one for one in values)] if values else []
    return [(time, sum(one[time] for one in values) / len(values)) for time in times]


def valid_runs(records: Sequence[RunRecord], method: str) -> list[RunRecord]:
    """Return the runs of a method that are not void and have a history."""
    return [run for run in records if run.result.method == method and run.result.void is None and run.history]
