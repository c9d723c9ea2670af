"""95 % intervals over rows, of scores that depend on labels and predictions alone.

:mod:`distilora.evaluation.score_intervals` returns those of every score together, on the same resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.records import Interval
from distilora.evaluation.resampling import (
    TAIL,
    Classes,
    Scores,
    Tallies,
    class_indicators,
    corrected_interval,
    require_shapes,
    row_weights,
    symmetric_interval,
)

RESAMPLES = 2000
"""How often rows are drawn, where nothing else is said."""


def accuracy_interval(
    labels: Classes, predictions: Classes, *, classes: int, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the 95 % bootstrap interval of accuracy; arguments as for :func:`macro_f1_interval`."""
    return _interval(labels, predictions, Tallies.accuracy, classes=classes, seed=seed, resamples=resamples)


def macro_f1_interval(
    labels: Classes, predictions: Classes, *, classes: int, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the 95 % bootstrap interval (BCa) of macro-F1, rows resampled and seeds averaged.

    It speaks of other rows from the same source, not of other seeds. It held the true value in 96 % of simulations
    with 12 rows in the smallest class, but in 90 % with 6 and 73 % with 3, which are often all wrong: the bootstrap
    knows no rows but these. Where every row is right the interval has no width.

    Args:
        labels: true class of each row, shape (rows,).
        predictions: predicted class of each row by the model of each seed, shape (seeds, rows).
        classes: how many classes there are, those without rows included.
        seed: of the resampling.
        resamples: how often the rows are drawn.

    Raises:
        ValueError: the shapes differ, there are no rows, or a class is out of range.

    Source:
        Efron (1987), https://doi.org/10.1080/01621459.1987.10478410.

    Example:
        >>> labels = np.array([0, 1] * 50)
        >>> macro_f1_interval(labels, labels[None], classes=2)
        Interval(low=1.0, high=1.0)
    """
    return _interval(labels, predictions, Tallies.macro_f1, classes=classes, seed=seed, resamples=resamples)


def difference_interval(  # noqa: PLR0913 - as its neighbours, with a second method
    labels: Classes,
    predictions_a: Classes,
    predictions_b: Classes,
    *,
    classes: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the 95 % interval of macro-F1(a) − macro-F1(b), both on the same resampled rows, seeds averaged.

    It is symmetric, and so agrees with the p of :func:`distilora.evaluation.significance.compare_methods`.

    Args:
        labels: true class of each row, shape (rows,).
        predictions_a: of one method, shape (seeds of a, rows).
        predictions_b: of the other, shape (seeds of b, rows).
        classes: how many classes there are.
        seed: of the resampling.
        resamples: how often the rows are drawn.

    Raises:
        ValueError: the shapes differ, there are no rows, or a class is out of range.

    Source:
        Koehn (2004), §4, https://aclanthology.org/W04-3250, for pairing; Hall (1988),
        https://doi.org/10.1111/j.2517-6161.1988.tb01710.x, for the interval.
    """
    values, draws = resampled_scores(
        labels, [predictions_a, predictions_b], Tallies.macro_f1, classes=classes, seed=seed, resamples=resamples
    )
    return symmetric_interval(float(values[0] - values[1]), draws[0] - draws[1])


def resampled_scores(  # noqa: PLR0913 - as its neighbours
    labels: Classes,
    methods: list[Classes],
    score: Callable[[Tallies], Scores],
    *,
    classes: int,
    seed: int,
    resamples: int,
) -> tuple[Scores, Scores]:
    """Return a score of each method on the rows as they are, shape (methods,), and in each resample.

    Args:
        labels: true class of each row, shape (rows,).
        methods: predictions of each, shape (its seeds, rows).
        score: of tallies, shape (samples,); or several, shape (samples, scores): all that comes back ends in them.
        classes: how many classes there are.
        seed: of the resampling.
        resamples: how often the rows are drawn.

    Returns:
        The values, and the draws, shape (methods, resamples): all methods on the same resamples.

    Raises:
        ValueError: the shapes differ, there are no rows, or a class is out of range.
    """
    for predictions in methods:
        require_shapes(labels, predictions, classes=classes)
    each = [class_indicators(labels, predictions, classes=classes) for predictions in methods]
    bounds = np.cumsum([one.shape[1] for one in each])[:-1]
    together = np.concatenate(each, axis=1)  # (rows, tallies of all methods)

    def scores(sums: NDArray[np.floating]) -> Scores:
        return np.stack([score(Tallies(part, classes=classes)) for part in np.split(sums, bounds, axis=1)])

    values = scores(together.sum(axis=0, dtype=np.float64)[None])[:, 0]
    drawn = [scores(weights @ together) for weights in row_weights(len(labels), seed=seed, resamples=resamples)]
    return values, np.concatenate(drawn, axis=1)


def _interval(  # noqa: PLR0913
    labels: Classes,
    predictions: Classes,
    score: Callable[[Tallies], Scores],
    *,
    classes: int,
    seed: int,
    resamples: int,
) -> Interval:
    values, draws = resampled_scores(labels, [predictions], score, classes=classes, seed=seed, resamples=resamples)
    indicators = class_indicators(labels, predictions, classes=classes)
    without = score(Tallies(indicators.sum(axis=0, dtype=np.float64) - indicators, classes=classes))
    return corrected_interval(float(values[0]), draws[0], without=without)


def wilson_interval(hits: int, rows: int) -> Interval:
    """Return the 95 % score interval of a share, which holds for few rows too, and for none or all of them right.

    Args:
        hits: how many rows are right.
        rows: of how many, at least 1.

    Raises:
        ValueError: ``hits`` does not lie from 0 to ``rows``, or there are no rows.

    Source:
        Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953.

    Example:
        >>> wilson_interval(0, 10)
        Interval(low=0.0, high=0.27753279986288915)
    """
    if not 0 <= hits <= rows or not rows:
        raise ValueError(f"hits {hits}, rows {rows}: need 0 <= hits <= rows, and at least one row")
    z = NormalDist().inv_cdf(1 - TAIL)
    share, stretch = hits / rows, 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / stretch
    reach = z / stretch * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return Interval(
        low=0.0 if hits == 0 else middle - reach,
        high=1.0 if hits == rows else middle + reach,
    )
