"""Whether two methods really differ: paired tests on the same test rows, corrected for how many pairs there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.intervals import resampled_scores
from distilora.evaluation.records import Interval
from distilora.evaluation.resampling import Classes, Scores, Tallies, symmetric_interval
from distilora.records import Record

EXACT_BELOW = 25
"""Fewer rows than these on which one method alone is right: McNemar's test is exact."""
PAIR_RESAMPLES = 10_000
"""More than for intervals: the smallest p, 0.0001, must outlast a correction for hundreds of pairs."""
RESAMPLES_A_PAIR = 50
"""The smallest p, corrected, stays at 0.02 however many pairs are tested together."""


class McNemar(Record):
    """Whether two models are right equally often, on the rows on which only one of them is."""

    seed: int
    """Of both models."""
    only_first: int
    """Rows on which the first alone is right."""
    only_second: int
    exact: bool
    """Whether p comes from the binomial distribution, else from chi-square."""
    p: float
    """Two-sided."""
    p_holm: float
    """Corrected for all pairs of this seed that were tested together."""


class PairTest(Record):
    """How much more macro-F1 the first method has than the second, from -1 to 1, and whether that may be chance."""

    first: str
    second: str
    value: float
    """Seeds averaged."""
    low: float
    """Of the 95 % interval over rows."""
    high: float
    p: float
    """Two-sided; above 0, and 1 where the predictions are the same."""
    p_holm: float
    """Corrected for all pairs that were tested together."""
    mcnemar: tuple[McNemar, ...]
    """For each seed that both methods have."""


def compare_methods(  # noqa: PLR0913 - the data, and how they are resampled
    labels: Classes,
    predictions: Mapping[str, Classes],
    *,
    classes: int,
    run_seeds: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    resamples: int | None = None,
) -> tuple[PairTest, ...]:
    """Return the paired tests of every pair of methods, in the order in which the methods are given.

    The difference is that of macro-F1 with the seeds of each method averaged, and rows are drawn with replacement, the
    same ones for all methods. With d the difference and d* that of a resample,
    p = (1 + number of resamples with |d* − d| ≥ |d|) / (1 + resamples): how often chance alone moves the difference
    by as much as it is away from 0. The interval, d ± the 95 % quantile of |d* − d|, leaves 0 out where p is below
    0.05. It speaks of other rows, not of other seeds.

    Args:
        labels: true class of each row, shape (rows,).
        predictions: by method, the predicted class of each row by the model of each seed, shape (seeds, rows).
        classes: how many classes there are, those without rows included.
        run_seeds: by method, the seed of each of its rows of predictions; ``None``: 0, 1, ….
        seed: of the resampling.
        resamples: how often the rows are drawn; ``None``: as :func:`enough_resamples` says.

    Raises:
        ValueError: the shapes differ, there are no rows, or a class is out of range.

    Source:
        Hall & Wilson (1991), guideline 1, https://doi.org/10.2307/2532163, for d* − d; Hall (1988),
        https://doi.org/10.1111/j.2517-6161.1988.tb01710.x, for the interval; Phipson & Smyth (2010),
        https://doi.org/10.2202/1544-6115.1585, for the 1 that is added: p is never 0.

    Example:
        >>> labels = np.array([0, 1] * 20)
        >>> same = {"odd": labels[None], "even": labels[None]}
        >>> compare_methods(labels, same, classes=2)[0].p
        1.0
    """
    pairs = list(itertools.combinations(predictions, 2))
    return _pair_tests(labels, predictions, pairs, classes=classes, run_seeds=run_seeds, seed=seed, resamples=resamples)


def compare_with(  # noqa: PLR0913 - as its neighbour, with the one that all are held against
    labels: Classes,
    predictions: Mapping[str, Classes],
    *,
    reference: str,
    classes: int,
    run_seeds: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    resamples: int | None = None,
) -> tuple[PairTest, ...]:
    """Return the paired test of every other method against one, corrected for these alone.

    Args:
        labels: as for :func:`compare_methods`, which says how two methods are tested, and so are all others but one.
        predictions: by method, that one among them.
        reference: its name; it is the second of each pair.
        classes: how many classes there are.
        run_seeds: by method, the seed of each of its rows of predictions; ``None``: 0, 1, ….
        seed: of the resampling.
        resamples: how often the rows are drawn; ``None``: as :func:`enough_resamples` says.

    Raises:
        ValueError: the shapes differ, there are no rows, or a class is out of range.

    Example:
        >>> labels = np.array([0, 1] * 20)
        >>> methods = {"odd": 1 - labels[None], "even": labels[None], "lora": labels[None]}
        >>> [(one.first, one.p_holm < 0.05) for one in compare_with(labels, methods, reference="even", classes=2)]
        [('odd', True), ('lora', False)]
    """
    pairs = [(name, reference) for name in predictions if name != reference]
    return _pair_tests(labels, predictions, pairs, classes=classes, run_seeds=run_seeds, seed=seed, resamples=resamples)


def _pair_tests(  # noqa: PLR0913 - as the two above
    labels: Classes,
    predictions: Mapping[str, Classes],
    pairs: Sequence[tuple[str, str]],
    *,
    classes: int,
    run_seeds: Mapping[str, Sequence[int]] | None,
    seed: int,
    resamples: int | None,
) -> tuple[PairTest, ...]:
    """Return the test of each pair, corrected for all of them together."""
    if not pairs:
        return ()
    values, draws = resampled_scores(
        labels,
        list(predictions.values()),
        Tallies.macro_f1,
        classes=classes,
        seed=seed,
        resamples=enough_resamples(len(pairs)) if resamples is None else resamples,
    )
    place = {name: index for index, name in enumerate(predictions)}
    seeds = {name: _seeds(name, predictions[name], run_seeds) for name in predictions}
    # One at a time, for the draws of hundreds of pairs would fill the memory.
    differences = [
        _difference(float(values[place[a]] - values[place[b]]), draws[place[a]] - draws[place[b]]) for a, b in pairs
    ]
    p_holm = holm([difference.p for difference in differences])
    mcnemars = _mcnemars(labels, pairs, predictions, seeds)
    return tuple(
        PairTest(
            first=a,
            second=b,
            value=found.value,
            low=found.interval.low,
            high=found.interval.high,
            p=found.p,
            p_holm=corrected,
            mcnemar=mcnemar,
        )
        for (a, b), found, corrected, mcnemar in zip(pairs, differences, p_holm, mcnemars, strict=True)
    )


class _Difference(NamedTuple):
    """How much more macro-F1 one method has than another."""

    value: float
    interval: Interval
    p: float


def _difference(value: float, draws: Scores) -> _Difference:
    """Return a difference with its interval and p, of its value and its draws, shape (resamples,)."""
    return _Difference(value, symmetric_interval(value, draws), bootstrap_p(value, draws))


def enough_resamples(pairs: int) -> int:
    """Return how often to draw rows so that a difference can be found at all once p is corrected for all pairs.

    p is 1 / (1 + resamples) at least. With 10,000 resamples and more than 500 pairs, of 33 methods, even the clearest
    difference would have a corrected p above 0.05.

    Example:
        >>> enough_resamples(6), enough_resamples(561)
        (10000, 28050)
    """
    return max(PAIR_RESAMPLES, RESAMPLES_A_PAIR * pairs)


def _seeds(name: str, predictions: Classes, run_seeds: Mapping[str, Sequence[int]] | None) -> list[int]:
    seeds = list(range(len(predictions))) if run_seeds is None else list(run_seeds[name])
    if len(seeds) != len(predictions) or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"{name}: seeds {seeds} for {len(predictions)} rows of predictions: need one each, all different"
        )
    return seeds


def bootstrap_p(value: float, draws: Scores) -> float:
    """Return the two-sided p of a difference, from its value on the rows as they are and in each resample.

    The definition and its sources stand at :func:`compare_methods`.

    Args:
        value: the difference.
        draws: the difference in each resample, shape (resamples,).

    Returns:
        From 1 / (1 + resamples) to 1.

    Example:
        >>> bootstrap_p(0.5, np.array([0.4, 0.5, 1.1, -0.2]))  # two of four are 0.5 or more away
        0.6
    """
    beyond = np.abs(draws - value) >= abs(value) - 1e-12  # equal but for rounding
    return float((1 + beyond.sum()) / (1 + len(draws)))


def _mcnemars(
    labels: Classes,
    pairs: Sequence[tuple[str, str]],
    predictions: Mapping[str, Classes],
    seeds: Mapping[str, Sequence[int]],
) -> list[tuple[McNemar, ...]]:
    """Return the tests of each pair, one a seed that both have, corrected over all pairs of that seed."""
    right = {
        (name, seed): row == labels
        for name, rows in predictions.items()
        for seed, row in zip(seeds[name], rows, strict=True)
    }
    found: dict[tuple[str, str], list[McNemar]] = {pair: [] for pair in pairs}
    for seed in sorted({seed for _, seed in right}):
        both = [(a, b) for a, b in pairs if (a, seed) in right and (b, seed) in right]
        counts = [_only_right(right[a, seed], right[b, seed]) for a, b in both]
        p_values = [mcnemar_p(*count) for count in counts]
        for pair, (first, second), p, p_holm in zip(both, counts, p_values, holm(p_values), strict=True):
            exact = first + second < EXACT_BELOW
            found[pair].append(
                McNemar(seed=seed, only_first=first, only_second=second, exact=exact, p=p, p_holm=p_holm)
            )
    return [tuple(found[pair]) for pair in pairs]


def _only_right(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int]:
    return int((first & ~second).sum()), int((second & ~first).sum())


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the two-sided p of McNemar's test: from the binomial distribution where the two together are below 25.

    Else it comes from chi-square with one degree of freedom and Edwards' correction for continuity, which is not
    applied where the two are equal, as in R: then p is 1.

    Args:
        only_first: rows on which the first model alone is right.
        only_second: rows on which the second alone is right.

    Returns:
        From 0 to 1; 1 where there are no such rows.

    Source:
        McNemar (1947), https://doi.org/10.1007/BF02295996; Edwards (1948), https://doi.org/10.1007/BF02289261.

    Example:
        >>> mcnemar_p(1, 5)  # 2 (1 + 6) / 2^6
        0.21875
    """
    rows, fewer = only_first + only_second, min(only_first, only_second)
    if rows < EXACT_BELOW:
        return min(1.0, sum(math.comb(rows, k) for k in range(fewer + 1)) / 2.0 ** (rows - 1))
    statistic = max(0, abs(only_first - only_second) - 1) ** 2 / rows
    return math.erfc(math.sqrt(statistic / 2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return each p corrected for how many there are, so that all errors together stay below the level.

    Args:
        p_values: from 0 to 1, in any order.

    Returns:
        In the same order: the smallest p times their number, the next times one less, …, each at least the one before
        and at most 1.

    Source:
        Holm (1979), https://www.jstor.org/stable/4615733.

    Example:
        >>> holm([0.25, 0.01, 0.125])
        [0.25, 0.03, 0.25]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
