"""Whether a model's probabilities can be trusted: what they say against how often they come true."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.predictions import calibrated
from distilora.evaluation.intervals import wilson_interval
from distilora.evaluation.records import Interval
from distilora.evaluation.resampling import Classes
from distilora.records import Record

BINS = 15
"""How many bins rows are put in, where nothing else is said."""
Probabilities = NDArray[np.floating]


class ReliabilityBin(Record):
    """Rows of like confidence."""

    rows: int
    confidence: float
    """Mean probability of the predicted class."""
    accuracy: float
    interval: Interval
    """Of the accuracy (Wilson)."""


class Calibration(Record):
    """How well the probabilities of one model fit what is true, at one temperature."""

    temperature: float
    expected_calibration_error: float
    """From 0, the best, to 1; 15 bins of equal mass."""
    brier_score: float
    """From 0, the best, to 2: squared errors summed over classes."""
    bins: tuple[ReliabilityBin, ...]
    """Least confident first; fewer than 15 where rows are tied or few."""


def expected_calibration_error(probabilities: Probabilities, labels: Classes, *, bins: int = BINS) -> float:
    """Return the mean distance between confidence and accuracy over bins of equal mass, from 0 to 1.

    Confidence is the probability of the likeliest class. The measure is never below 0, so that noise raises it: a
    perfectly calibrated model has about 0.02 on 2,000 rows and 0.08 on 200.

    Args:
        probabilities: shape (rows, classes).
        labels: index of the true class, shape (rows,).
        bins: how many, at least 1.

    Raises:
        ValueError: the shapes differ, there are no rows, or ``bins`` is below 1.

    Source:
        Guo et al. (2017), §2, https://arxiv.org/abs/1706.04599; bins of equal mass: Nixon et al. (2019), §3,
        https://arxiv.org/abs/1904.01685.

    Example:
        >>> probabilities = np.array([[0.9, 0.1]] * 10)
        >>> round(expected_calibration_error(probabilities, np.array([0] * 7 + [1] * 3)), 3)
        0.2
    """
    gaps, which = confidence_gaps(probabilities, labels, bins=bins)
    return float(np.abs(np.bincount(which, gaps, minlength=bins)).sum() / len(labels))


def brier_score(probabilities: Probabilities, labels: Classes) -> float:
    """Return the mean over rows of Σ (probability − truth)² over all classes: from 0, the best, to 2.

    For two classes it is twice the form that looks at one class alone.

    Args:
        probabilities: shape (rows, classes).
        labels: index of the true class, shape (rows,).

    Raises:
        ValueError: the shapes differ, or there are no rows.

    Source:
        Brier (1950), formula 2, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Example:
        >>> round(brier_score(np.array([[0.8, 0.2]]), np.array([0])), 3)
        0.08
    """
    return float(squared_errors(probabilities, labels).mean())


def reliability_bins(probabilities: Probabilities, labels: Classes, *, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return the bins of a reliability diagram, least confident first, empty ones left out.

    Args:
        probabilities: shape (rows, classes).
        labels: index of the true class, shape (rows,).
        bins: how many, at least 1.

    Raises:
        ValueError: the shapes differ, there are no rows, or ``bins`` is below 1.

    Source:
        Bröcker & Smith (2007), https://doi.org/10.1175/WAF993.1.
    """
    _require(probabilities, labels)
    which = equal_mass_bins(probabilities.max(axis=1), bins=bins)
    confidence = np.asarray(probabilities.max(axis=1), dtype=np.float64)
    rows = np.bincount(which)
    hits = np.bincount(which[probabilities.argmax(axis=1) == labels], minlength=len(rows))
    sums = np.bincount(which, confidence)
    return tuple(
        ReliabilityBin(
            rows=int(rows[index]),
            confidence=float(sums[index] / rows[index]),
            accuracy=float(hits[index] / rows[index]),
            interval=wilson_interval(int(hits[index]), int(rows[index])),
        )
        for index in np.flatnonzero(rows)
    )


def measure_calibration(logits: NDArray[np.floating], labels: Classes, *, temperature: float = 1.0) -> Calibration:
    """Return how well softmax(logits / T) fits the labels; call it with 1 and with T for before and after.

    Args:
        logits: scores before softmax, shape (rows, classes).
        labels: index of the true class, shape (rows,).
        temperature: T, above 0; fitted on other rows than these.

    Raises:
        ValueError: the shapes differ, there are no rows, or ``temperature`` is not above 0.

    Example:
        >>> logits = np.array([[4.0, 0.0]] * 4)  # sure to 98 %, and right in three of four
        >>> labels = np.array([0, 0, 0, 1])
        >>> both = [measure_calibration(logits, labels, temperature=t) for t in (1, 3.641)]
        >>> [round(one.expected_calibration_error, 3) for one in both]
        [0.232, 0.0]
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: need a number above 0")
    _require(logits, labels)
    probabilities = calibrated(np.asarray(logits, dtype=np.float32), temperature=temperature).astype(np.float64)
    return Calibration(
        temperature=temperature,
        expected_calibration_error=expected_calibration_error(probabilities, labels),
        brier_score=brier_score(probabilities, labels),
        bins=reliability_bins(probabilities, labels),
    )


def equal_mass_bins(values: NDArray[np.floating], *, bins: int) -> NDArray[np.int64]:
    """Return the bin of each value, from 0 for the lowest; bins hold the same number of values, to within one.

    Values that are equal share a bin, that of the middle one, whatever their order: then bins may be larger or empty.

    Args:
        values: shape (rows,).
        bins: how many, at least 1.

    Raises:
        ValueError: ``bins`` is below 1.

    Example:
        >>> equal_mass_bins(np.array([0.9, 0.1, 0.5, 0.7]), bins=2).tolist()
        [1, 0, 0, 1]
        >>> equal_mass_bins(np.array([0.5, 0.5, 0.5]), bins=3).tolist()
        [1, 1, 1]
    """
    if bins < 1:
        raise ValueError(f"bins {bins}: need at least 1")
    ordered = np.sort(values)
    lower, upper = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray((lower + upper) * bins // (2 * len(values)), dtype=np.int64)


def confidence_gaps(
    probabilities: Probabilities, labels: Classes, *, bins: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return each row's confidence less whether it is right, and its bin, both of shape (rows,).

    Args:
        probabilities: shape (rows, classes).
        labels: index of the true class, shape (rows,).
        bins: how many.

    Raises:
        ValueError: the shapes differ, there are no rows, or ``bins`` is below 1.
    """
    _require(probabilities, labels)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    return np.asarray(confidence - right, dtype=np.float64), equal_mass_bins(confidence, bins=bins)


def squared_errors(probabilities: Probabilities, labels: Classes) -> NDArray[np.float64]:
    """Return each row's part of the Brier score, shape (rows,); arguments and errors as for :func:`brier_score`."""
    _require(probabilities, labels)
    truth = np.eye(probabilities.shape[1])[labels]  # (rows, classes)
    return np.asarray(((probabilities - truth) ** 2).sum(axis=1))


def _require(probabilities: Probabilities, labels: Classes) -> None:
    if probabilities.ndim != 2 or probabilities.shape[:1] != labels.shape or not len(labels):
        raise ValueError(f"labels {labels.shape}, probabilities {probabilities.shape}: need (rows,), (rows, classes)")
