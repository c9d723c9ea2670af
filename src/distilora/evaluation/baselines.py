"""What a model must beat to be worth its weights: the commonest class, and what ``tfidf`` beside it makes of words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted baseline."""

    validation_logits: NDArray[np.float32]
    """Log probabilities, shape (rows, labels)."""
    test_logits: NDArray[np.float32]
    """Log probabilities, shape (rows, labels)."""
    parameters: int | None
    notes: str
    """What was chosen on validation, in words."""


def majority_baseline(labels: NDArray[np.int64], *, classes: int, validation_rows: int, test_rows: int) -> Baseline:
    """Return the baseline that gives every row the class frequencies of the training labels.

    Args:
        labels: of the training rows, shape (rows,).
        classes: how many classes there are.
        validation_rows: how many rows to score.
        test_rows: how many rows to score.

    Example:
        >>> majority_baseline(np.array([0, 1, 1]), classes=2, validation_rows=1, test_rows=2).test_logits.argmax(axis=1)
        array([1, 1])
    """
    shares = np.bincount(labels, minlength=classes) / len(labels)
    row = log_probabilities(shares)
    return Baseline(
        validation_logits=np.tile(row, (validation_rows, 1)),
        test_logits=np.tile(row, (test_rows, 1)),
        parameters=None,
        notes="class frequencies of the training rows",
    )


def log_probabilities(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the logarithms of probabilities, in their shape, all of them finite.

    Example:
        >>> np.isfinite(log_probabilities(np.array([1.0, 0.0]))).tolist()
        [True, True]
    """
    return np.asarray(np.log(np.maximum(probabilities, _SMALLEST_PROBABILITY)), dtype=np.float32)
