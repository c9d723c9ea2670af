"""What can be seen to go wrong in a training from its log alone: pure functions of numbers.

A log is what ``transformers.Trainer`` keeps as ``log_history``: one mapping an entry, with ``loss`` and ``grad_norm``
where it is of training steps, and names that begin with ``eval_`` where it is of an evaluation on validation rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from distilora.records import Record
from distilora.training.records import Kind

LogEntry = Mapping[str, Any]
Series = Sequence[float] | NDArray[np.float64]

PREDICTED_SHARE = "predicted_share"
TRUE_SHARE = "true_share"
_GAUSSIAN = 1.4826
"""Standard deviation of normal data over their median absolute deviation."""
_START = 5
"""Entries of the log whose median is the loss at the start, or now."""
_LEAST_ENTRIES = 8
"""Before so many entries nobody can say what is usual."""


class Thresholds(Record):
    """From where on something is worth a word; the defaults are silent on sound trainings."""

    window: int = Field(20, ge=_LEAST_ENTRIES, description="entries of the log that a new one is held against")
    deviations: float = Field(
        6.0, gt=0, description="robust deviations of the logarithm of a loss, or of a gradient norm"
    )
    spike_rise: float = Field(0.25, gt=0, description="rise of the loss above its median, in losses at the start")
    gradient_factor: float = Field(10.0, gt=1, description="gradient norm over the median of the window")
    divergence_factor: float = Field(1.2, gt=1, description="training loss now over that at the start")
    overfit_factor: float = Field(2.0, gt=1, description="validation loss over its lowest, after two rises in a row")
    patience: int = Field(3, ge=1, description="evaluations without gain that make a plateau")
    least_gain: float = Field(0.001, ge=0, description="of macro-F1, and of the validation loss as a share of it")
    collapse_share: float = Field(
        0.1, gt=0, lt=1, description="share of rows outside the most predicted class over the share there should be"
    )
    collapse_patience: int = Field(2, ge=1, description="evaluations in a row that make a collapse")


DEFAULTS = Thresholds()


class Finding(NamedTuple):
    """One thing that was seen."""

    kind: Kind
    value: float | None
    """What was measured; absent where it is no finite number."""
    message: str


def spike(losses: Series, *, limits: Thresholds = DEFAULTS) -> Finding | None:
    """Return the last loss as a spike where it stands far above those before it.

    Far is both: ``deviations`` robust deviations of the logarithms above their median, since losses of single
    steps are skewed; and a rise of ``spike_rise`` losses at the start, for a loss near 0 may double without harm.

    Args:
        losses: training losses in order, finite; where one is not above 0, nothing is said.
        limits: from where on it is worth a word.

    Returns:
        A finding with the loss over the median of the window, or nothing.

    Source:
        Hampel (1974), The influence curve and its role in robust estimation, JASA 69, for median and MAD.

    Example:
        >>> spike([0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.52, 0.5, 3.0]).value
        5.217391304347826
    """
    window = np.asarray(losses[-limits.window - 1 : -1], dtype=np.float64)
    if len(window) < _LEAST_ENTRIES or min(window.min(), losses[-1]) <= 0:
        return None
    usual, start = _median(window), _median(losses[:_START])
    if losses[-1] - usual < limits.spike_rise * start:
        return None
    if robust_deviations(math.log(losses[-1]), np.log(window)) < limits.deviations:
        return None
    return Finding("spike", losses[-1] / usual, f"loss {losses[-1]:.3g} is {losses[-1] / usual:.1f} times the usual")


def robust_deviations(value: float, window: Series) -> float:
    """Return how far ``value`` lies above the window's median, in standard deviations estimated from the MAD.

    Example:
        >>> round(robust_deviations(9.0, [1.0, 2.0, 3.0, 4.0, 5.0]), 3)
        4.047
    """
    middle = _median(window)
    spread = _GAUSSIAN * _median(np.abs(np.asarray(window) - middle))
    distance = value - middle
    return distance / spread if spread else math.copysign(math.inf, distance) if distance else 0.0


def gradient_explosion(norms: Series, *, limits: Thresholds = DEFAULTS) -> Finding | None:
    """Return a finding where the last gradient norm is ``gradient_factor`` times the median of the window.

    It must also stand ``deviations`` robust deviations of the logarithms above their median, and above all in the
    window and all at the start: as a model learns, most gradients shrink, and a hard batch brings long ones back.

    Args:
        norms: lengths of the gradient before clipping, in order, finite.
        limits: from where on it is worth a word.

    Returns:
        A finding with the norm over the median of the window, or nothing.

    Example:
        >>> gradient_explosion([2.0] * 8 + [50.0]).value
        25.0
    """
    window = np.asarray(norms[-limits.window - 1 : -1], dtype=np.float64)
    if len(window) < _LEAST_ENTRIES:
        return None
    usual, longest = _median(window), max(*window, *norms[:_LEAST_ENTRIES])
    if min(window) <= 0 or norms[-1] < limits.gradient_factor * usual or norms[-1] <= longest:
        return None
    if robust_deviations(math.log(norms[-1]), np.log(window)) < limits.deviations:
        return None
    ratio = norms[-1] / usual
    return Finding("gradient", ratio, f"gradient norm {norms[-1]:.3g} is {ratio:.0f} times the usual")


def training_divergence(losses: Series, *, limits: Thresholds = DEFAULTS) -> Finding | None:
    """Return a finding where the training loss is ``divergence_factor`` times what it was at the start.

    Both are medians of five entries, and nothing is said before there are ten; the finding's value is their ratio.

    Example:
        >>> training_divergence([1.0] * 5 + [0.8, 0.7, 2.0, 2.5, 3.0]).value
        2.0
    """
    if len(losses) < 2 * _START:
        return None
    start, now = _median(losses[:_START]), _median(losses[-_START:])
    if start <= 0 or now < limits.divergence_factor * start:
        return None
    return Finding("divergence", now / start, f"training loss {now:.3g} is above the {start:.3g} of its start")


def overfitting(validation: Series, training: Series, *, limits: Thresholds = DEFAULTS) -> Finding | None:
    """Return a finding where the validation loss rose twice in a row while the training loss fell.

    It must also have reached ``overfit_factor`` times its lowest value: cross-entropy rises by half in sound trainings
    too, as a model grows sure of itself, with no loss of macro-F1.

    Args:
        validation: loss at each evaluation, in order, finite.
        training: mean training loss since the evaluation before, same length.
        limits: from where on it is worth a word.

    Returns:
        A finding with the validation loss over its lowest, or nothing.

    Example:
        >>> overfitting([0.3, 0.5, 0.7], [0.5, 0.2, 0.1]).message
        'validation loss 0.7 is 2.3 times its lowest and rises while training loss falls'
    """
    if len(validation) < 3:
        return None
    lowest = min(validation)
    rises = validation[-3] < validation[-2] < validation[-1]
    falls = training[-3] > training[-2] > training[-1]
    if not (rises and falls and 0 < limits.overfit_factor * lowest <= validation[-1]):
        return None
    ratio = validation[-1] / lowest
    message = (
        f"validation loss {validation[-1]:.3g} is {ratio:.1f} times its lowest and rises while training loss falls"
    )
    return Finding("divergence", ratio, message)


def plateau(losses: Series, scores: Series, *, limits: Thresholds = DEFAULTS) -> Finding | None:
    """Return a finding where for ``patience`` evaluations neither the validation loss nor the score has gained.

    Args:
        losses: on validation rows at each evaluation, lower is better.
        scores: such as macro-F1, higher is better, same length; or none at all.
        limits: from where on it is worth a word.

    Returns:
        A finding with the number of evaluations since the last gain, or nothing.

    Example:
        >>> plateau([0.5, 0.5, 0.6, 0.5], [0.7, 0.7, 0.69, 0.7]).value
        3.0
    """
    fallen = -np.asarray(losses, dtype=np.float64)
    waits = [_since_gain(fallen, limits.least_gain * np.abs(fallen))]
    if len(scores):
        waits.append(_since_gain(np.asarray(scores), np.full(len(scores), limits.least_gain)))
    waited = min(waits)
    if waited < limits.patience:
        return None
    return Finding("plateau", float(waited), f"no gain on validation for {waited} evaluations")


def _since_gain(values: NDArray[np.float64], least: NDArray[np.float64]) -> int:
    """Return how many values have passed since the last that beat all before it by more than ``least``."""
    if not len(values):
        return 0
    best, found = 0, values[0]
    for index, value in enumerate(values):
        if value > found + least[index]:
            best, found = index, value
    return len(values) - 1 - best


def collapse(predicted: Series, true: Series, *, limits: Thresholds = DEFAULTS) -> Finding | None:
    """Return a finding where, at the last evaluations, nearly all rows were given one and the same class.

    Nearly all: the share of the other predictions is under ``collapse_share`` of the share of rows whose label is not
    the most frequent one; so 95 % of one class are no collapse where 92 % of the labels are of one.

    Args:
        predicted: share of the most predicted class at each evaluation, from 0 to 1.
        true: share of the most frequent label, from 0 to 1; same length.
        limits: from where on it is worth a word.

    Returns:
        A finding with the last predicted share, or nothing.

    Example:
        >>> collapse([0.8, 0.99, 1.0], [0.7, 0.7, 0.7]).message
        '100.0 % of the predictions are of one class, 70.0 % of the labels'
    """
    others, due = 1 - np.asarray(predicted), 1 - np.asarray(true)
    last = (others < limits.collapse_share * due)[-limits.collapse_patience :]
    if len(last) < limits.collapse_patience or not last.all():
        return None
    message = f"{100 * predicted[-1]:.1f} % of the predictions are of one class, {100 * true[-1]:.1f} % of the labels"
    return Finding("collapse", float(predicted[-1]), message)


def class_shares(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return what an evaluation must have among its scores for :func:`collapse` to be seen.

    Args:
        logits: of the validation rows, shape (rows, labels).
        labels: index of the true class, shape (rows,).

    Returns:
        ``predicted_share``, of the most predicted class, and ``true_share``, of the most frequent label.

    Example:
        >>> class_shares(np.array([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0], [0.0, 1.0]]), np.array([0, 1, 0, 1]))
        {'predicted_share': 0.75, 'true_share': 0.5}
    """
    rows = max(1, len(labels))
    return {
        PREDICTED_SHARE: float(np.bincount(logits.argmax(axis=1)).max(initial=0) / rows),
        TRUE_SHARE: float(np.bincount(labels).max(initial=0) / rows),
    }


def not_finite(entry: LogEntry) -> Finding | None:
    """Return a finding where a loss or a gradient norm of one entry of the log is infinite or not a number.

    Example:
        >>> not_finite({"loss": float("nan"), "step": 3}).message
        'loss is nan'
    """
    for name, value in entry.items():
        if ("loss" in name or name == "grad_norm") and not math.isfinite(value):
            return Finding("not-finite", None, f"{name} is {value}")
    return None


def _median(values: Series) -> float:
    return float(np.median(values))
