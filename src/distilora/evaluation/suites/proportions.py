"""Shares of right rows: the interval of one, and the difference of two on the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.intervals import wilson_interval
from distilora.evaluation.records import Interval
from distilora.evaluation.significance import holm, mcnemar_p
from distilora.evaluation.suites.records import Change, Family, GroupAccuracy

Right = NDArray[np.bool_]


def group_accuracy(name: str, right: Right) -> GroupAccuracy:
    """Return the accuracy of one group of rows with its interval.

    Args:
        name: of the group.
        right: whether each row is right, shape (rows,), at least one.
    """
    rows, correct = len(right), int(right.sum())
    return GroupAccuracy(
        name=name, rows=rows, correct=correct, accuracy=correct / rows, interval=wilson_interval(correct, rows)
    )


def accuracy_change(first: Right, other: Right, *, family: Family, name: str) -> Change:
    """Return how much higher the accuracy of ``other`` is than that of ``first`` on the same rows.

    Args:
        first: whether the first model is right, shape (rows,), at least one row.
        other: whether the other model is, same shape.
        family: kind of group.
        name: of the group.

    Raises:
        ValueError: the shapes differ, or there are no rows.
    """
    if first.shape != other.shape or not first.size:
        raise ValueError(f"right rows of shapes {first.shape} and {other.shape}: need the same rows, at least one")
    gained, lost = int((other & ~first).sum()), int((first & ~other).sum())
    return Change(
        family=family,
        name=name,
        measure="accuracy",
        rows=len(first),
        value=(gained - lost) / len(first),
        interval=paired_interval(both=int((first & other).sum()), gained=gained, lost=lost, rows=len(first)),
        p=mcnemar_p(gained, lost),
    )


def paired_interval(*, both: int, gained: int, lost: int, rows: int) -> Interval:
    """Return Newcombe's 95 % interval of the difference of two shares on the same rows (his method 10).

    Args:
        both: rows that are right both times.
        gained: rows that are right only the second time.
        lost: rows that are right only the first time.
        rows: all rows, at least 1.

    Source:
        Newcombe (1998), Statistics in Medicine 17:2635-2650, https://pubmed.ncbi.nlm.nih.gov/9839354.

    Example:
        >>> interval = paired_interval(both=36, gained=12, lost=2, rows=50)
        >>> round(interval.low, 4), round(interval.high, 4)
        (0.0569, 0.3404)
    """
    second, first = (both + gained) / rows, (both + lost) / rows
    of_second, of_first = wilson_interval(both + gained, rows), wilson_interval(both + lost, rows)
    correlation = _correlation(both=both, gained=gained, lost=lost, neither=rows - both - gained - lost)
    down = _added(second - of_second.low, of_first.high - first, correlation)
    up = _added(of_second.high - second, first - of_first.low, correlation)
    return Interval(low=second - first - down, high=second - first + up)


def _added(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))


def _correlation(*, both: int, gained: int, lost: int, neither: int) -> float:
    """Return φ of the two-by-two table, where it is positive with Newcombe's correction for continuity."""
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if not margins:
        return 0.0
    excess: float = both * neither - gained * lost
    if excess > 0:
        excess = max(excess - (both + gained + lost + neither) / 2, 0.0)
    return excess / math.sqrt(margins)


def with_holm(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return changes with each p corrected by Holm's method for all that have one.

    Args:
        changes: all that were looked at for one model.
    """
    tested = [(index, change.p) for index, change in enumerate(changes) if change.p is not None]
    corrected = dict(zip([index for index, _ in tested], holm([p for _, p in tested]), strict=True))
    return tuple(change.model_copy(update={"p_holm": corrected.get(i)}) for i, change in enumerate(changes))
