"""Linear probes: how well a layer's vectors tell the classes apart, without any help of later layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distilora.analysis.records import ProbeScores
from distilora.evaluation.intervals import accuracy_interval, macro_f1_interval
from distilora.evaluation.metrics import macro_f1_of

_CONSTANT = 1e-6
"""Share of the vectors' root mean square below which a feature's spread is rounding of float32."""
_MOST_STEPS = 5000
Vectors = NDArray[np.floating]
Classes = NDArray[np.int64]


def probe_predictions(train: Vectors, labels: Classes, others: Vectors, *, strength: float) -> Classes:
    """Return the classes that a logistic regression on one layer's standardised vectors gives to other rows.

    Its weights minimise C · Σ cross-entropy + ½‖W‖², the intercept left free.

    Args:
        train: vectors to learn from, shape (rows, width).
        labels: their classes, shape (rows,); a class that does not occur is never predicted.
        others: vectors of the rows to predict, shape (other rows, width).
        strength: C, above 0; smaller regularises more.

    Returns:
        Shape (other rows,).

    Source:
        Alain & Bengio (2016), Understanding intermediate layers using linear classifier probes,
        https://arxiv.org/abs/1610.01644.

    Example:
        >>> layer = np.array([[-1.0], [-2.0], [1.0], [2.0]])
        >>> probe_predictions(layer, np.array([0, 0, 1, 1]), np.array([[-0.5], [3.0]]), strength=1.0)
        array([0, 1])
    """
    if (labels == labels[0]).all():
        return np.full(len(others), labels[0], dtype=np.int64)
    from sklearn.linear_model import LogisticRegression  # it takes seconds, and most commands fit no probe

    mean, scale = _spread(train)
    model = LogisticRegression(C=strength, max_iter=_MOST_STEPS)
    model.fit((train - mean) / scale, labels)
    return np.asarray(model.predict((others - mean) / scale), dtype=np.int64)


def _spread(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each feature, shape (width,); of one that does not vary, 1."""
    wide = vectors.astype(np.float64)
    mean, scale = wide.mean(axis=0), wide.std(axis=0)
    smallest = _CONSTANT * np.sqrt(np.square(wide).mean())
    return mean, np.where(scale > smallest, scale, 1.0)


def probe_scores(labels: Classes, predictions: Classes, *, classes: int) -> ProbeScores:
    """Return the scores of a probe's predictions with their 95 % bootstrap intervals.

    Args:
        labels: true classes, shape (rows,).
        predictions: shape (rows,).
        classes: how many there are, those without rows included.
    """
    return ProbeScores(
        accuracy=float((predictions == labels).mean()),
        accuracy_interval=accuracy_interval(labels, predictions[None], classes=classes),
        macro_f1=macro_f1_of(predictions[None], labels, classes=classes),
        macro_f1_interval=macro_f1_interval(labels, predictions[None], classes=classes),
    )
