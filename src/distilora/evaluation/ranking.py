"""Areas under ROC curves, and how far they vary as rows are drawn anew."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.resampling import CELLS_AT_ONCE, Classes, Scores, Weights, times_drawn


class RankedRows(NamedTuple):
    """Positive rows against the others in the order of one model's scores, ready for areas under any weights."""

    positive: NDArray[np.int64]
    """Positive rows, shape (positives,)."""
    negative: NDArray[np.int64]
    """The others, from the lowest score to the highest, shape (negatives,)."""
    lower: NDArray[np.int64]
    """How many negatives lie below each positive, shape (positives,)."""
    upper: NDArray[np.int64]
    """How many lie below or level with it."""
    beaten_by: NDArray[np.float64]
    """How many positives lie above each negative, those level with it counted half, shape (negatives,)."""

    def areas(self, weights: Weights) -> Scores:
        """Return ROC AUC under each row of weights, shape (resamples,); NaN where one side has no weight."""
        below = np.zeros((len(weights), len(self.negative) + 1), dtype=np.float32)
        np.cumsum(weights[:, self.negative], axis=1, out=below[:, 1:])
        won = below[:, self.lower] + below[:, self.upper]  # (resamples, positives), twice the weight beaten
        positives = weights[:, self.positive]
        whole = 2 * positives.sum(axis=1, dtype=np.float64) * below[:, -1]
        parts = np.einsum("ij,ij->i", positives, won, dtype=np.float64)
        return np.asarray(np.divide(parts, whole, out=np.full(len(weights), np.nan), where=whole > 0))

    def without(self) -> Scores:
        """Return ROC AUC on all rows but one, shape (rows,); as with all rows where one side would be empty."""
        beats = (self.lower + self.upper) / 2
        positives, negatives, total = len(self.positive), len(self.negative), float(beats.sum())
        areas = np.full(positives + negatives, total / (positives * negatives))
        if positives > 1:
            areas[self.positive] = (total - beats) / ((positives - 1) * negatives)
        if negatives > 1:
            areas[self.negative] = (total - self.beaten_by) / (positives * (negatives - 1))
        return areas


def ranked_rows(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> RankedRows:
    """Return rows with their order worked out once; both arguments of shape (rows,), with rows on either side."""
    positive, negative = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
    negative = negative[np.argsort(scores[negative], kind="stable")]
    mine, ordered = scores[negative], np.sort(scores[positive])
    above = 2 * len(positive) - np.searchsorted(ordered, mine, "left") - np.searchsorted(ordered, mine, "right")
    return RankedRows(
        positive=positive,
        negative=negative,
        lower=np.searchsorted(mine, scores[positive], "left"),
        upper=np.searchsorted(mine, scores[positive], "right"),
        beaten_by=above / 2,
    )


def roc_auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Return how often a positive row has the higher score than a negative one, ties counted half; from 0 to 1.

    Args:
        positive: scores of the positive rows, shape (positives,), at least one.
        negative: scores of the negative rows, shape (negatives,), at least one.

    Source:
        Hanley & McNeil (1982), https://doi.org/10.1148/radiology.143.1.7063747.

    Example:
        >>> roc_auc(np.array([0.9, 0.4]), np.array([0.4, 0.1]))
        0.875
    """
    ordered = np.sort(negative)
    below, not_above = (np.searchsorted(ordered, positive, side=side) for side in ("left", "right"))
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


def mean_roc_auc(probabilities: NDArray[np.floating], labels: Classes) -> float | None:
    """Return :func:`roc_auc` of each class against the rest, averaged; nothing where a class has no rows.

    Args:
        probabilities: shape (rows, classes).
        labels: index of the true class, shape (rows,).
    """
    areas = [
        roc_auc(probabilities[labels == code, code], probabilities[labels != code, code])
        for code in ranked_classes(labels, classes=probabilities.shape[1])
    ]
    return float(np.mean(areas)) if areas else None


def ranked_classes(labels: Classes, *, classes: int) -> list[int]:
    """Return which classes have an area of their own: all, the second of two, none where a class has no rows."""
    if classes < 2 or len(np.unique(labels)) < classes:
        return []
    return [1] if classes == 2 else list(range(classes))


def resampled_aucs(
    positive: NDArray[np.floating], negative: NDArray[np.floating], *, seed: int, resamples: int
) -> Scores:
    """Return the AUC of each model in each resample; all models see the same resamples, so that they can be paired.

    Positive and negative rows are drawn with replacement, each by themselves, so that no resample lacks a class.

    Args:
        positive: scores of the positive rows by each model, shape (models, positives).
        negative: scores of the negative rows by each model, shape (models, negatives).
        seed: of the resampling.
        resamples: how often rows are drawn.

    Returns:
        Shape (models, resamples).

    Source:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, §8.3 (two samples).
    """
    draw = np.random.default_rng(seed)
    positives, negatives = positive.shape[1], negative.shape[1]
    is_positive = np.arange(positives + negatives) < positives
    models = [ranked_rows(is_positive, scores) for scores in np.concatenate([positive, negative], axis=1)]
    block = max(1, CELLS_AT_ONCE // len(is_positive))
    found = []
    for begin in range(0, resamples, block):
        some = min(block, resamples - begin)
        weights = np.concatenate([times_drawn(draw, size, resamples=some) for size in (positives, negatives)], axis=1)
        found.append([model.areas(weights) for model in models])
    return np.concatenate(found, axis=1)
