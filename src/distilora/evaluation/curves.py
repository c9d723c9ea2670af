"""What each threshold would find and how much of that would be right: the precision-recall curve."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from distilora.records import Record

MOST_POINTS = 200
"""How many points of a curve are kept, where nothing else is said."""


class CurvePoint(Record):
    """What one threshold does."""

    threshold: float
    """Rows that score this or more are called positive."""
    precision: float | None
    """Share of the rows called positive that are; absent where none is called so."""
    recall: float
    """Share of the positive rows that are called so."""


class PrecisionRecallCurve(Record):
    """Precision against recall as the threshold falls."""

    average_precision: float
    """From 0 to 1: precision at each threshold, weighted by the recall that it adds."""
    positive_share: float
    """Of positive rows among all: the average precision of chance."""
    points: tuple[CurvePoint, ...]
    """From the highest threshold to the lowest."""
    chosen: CurvePoint | None
    """At the threshold that is in use; absent where there is none."""


def precision_recall_curve(
    scores: NDArray[np.floating],
    is_positive: NDArray[np.bool_],
    *,
    threshold: float | None = None,
    most: int = MOST_POINTS,
) -> PrecisionRecallCurve | None:
    """Return precision against recall at every threshold, or nothing where no row is positive.

    Of more points than ``most`` those are kept that the curve's look depends on: ends first, then again and again the
    point that lies farthest from the line drawn so far.

    Args:
        scores: probability of the positive classes together, shape (rows,).
        is_positive: whether the row truly is positive, shape (rows,).
        threshold: the one in use.
        most: how many points to keep, at least 2.

    Raises:
        ValueError: the shapes differ, or ``most`` is below 2.

    Source:
        Average precision as in scikit-learn, without interpolation: Davis & Goadrich (2006),
        https://doi.org/10.1145/1143844.1143874; thinning: Douglas & Peucker (1973),
        https://doi.org/10.3138/FM57-6770-U75U-7727.

    Example:
        >>> scores, truth = np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False])
        >>> curve = precision_recall_curve(scores, truth, threshold=0.5)
        >>> curve.chosen
        CurvePoint(threshold=0.5, precision=0.5, recall=0.5)
        >>> round(curve.average_precision, 3)  # (1 + 2/3) / 2
        0.833
    """
    if scores.ndim != 1 or scores.shape != is_positive.shape or most < 2:
        raise ValueError(
            f"scores {scores.shape}, is_positive {is_positive.shape}, most {most}: need equal, and 2 or more"
        )
    positives = int(is_positive.sum())
    if not positives:
        return None
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # of the rows with the same score
    hits = np.cumsum(is_positive[order])[last]
    precision, recall = hits / (last + 1), hits / positives
    kept = thinned(recall, precision, most=most)
    return PrecisionRecallCurve(
        average_precision=float((np.diff(recall, prepend=0.0) * precision).sum()),
        positive_share=positives / len(scores),
        points=tuple(
            CurvePoint(threshold=float(falling[last[i]]), precision=float(precision[i]), recall=float(recall[i]))
            for i in kept
        ),
        chosen=None if threshold is None else _at(threshold, scores, is_positive),
    )


def _at(threshold: float, scores: NDArray[np.floating], is_positive: NDArray[np.bool_]) -> CurvePoint:
    called = scores >= threshold
    hits = int((called & is_positive).sum())
    return CurvePoint(
        threshold=threshold,
        precision=hits / int(called.sum()) if called.any() else None,
        recall=hits / int(is_positive.sum()),
    )


def thinned(x: NDArray[np.floating], y: NDArray[np.floating], *, most: int) -> list[int]:
    """Return which points of a line to keep so that the line through them looks the same, in order.

    Args:
        x: along, shape (points,), at least one.
        y: up, same shape and of like scale.
        most: how many to keep, at least 2.

    Source:
        Douglas & Peucker (1973), https://doi.org/10.3138/FM57-6770-U75U-7727, the farthest point first.

    Example:
        >>> thinned(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.1, 5.0, 0.0]), most=3)
        [0, 2, 3]
    """
    kept = {0, len(x) - 1}
    waiting = [_farthest(x, y, first=0, last=len(x) - 1)]
    while waiting and len(kept) < most:
        distance, middle, first, last = heapq.heappop(waiting)
        if not distance:
            break
        kept.add(middle)
        for begin, end in ((first, middle), (middle, last)):
            heapq.heappush(waiting, _farthest(x, y, first=begin, last=end))
    return sorted(kept)


def _farthest(
    x: NDArray[np.floating], y: NDArray[np.floating], *, first: int, last: int
) -> tuple[float, int, int, int]:
    """Return the point between two that lies farthest from the straight line, behind minus its distance."""
    if last - first < 2:
        return 0.0, first, first, last
    along, up = x[last] - x[first], y[last] - y[first]
    from_x, from_y = x[first + 1 : last] - x[first], y[first + 1 : last] - y[first]
    length = np.hypot(along, up)
    distances = np.abs(along * from_y - up * from_x) / length if length else np.hypot(from_x, from_y)
    farthest = int(distances.argmax())
    return -float(distances[farthest]), first + 1 + farthest, first, last
