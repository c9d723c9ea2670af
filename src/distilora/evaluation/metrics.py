"""Scores of predictions against true labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from distilora.evaluation.intervals import accuracy_interval, macro_f1_interval
from distilora.evaluation.records import ClassScores, Evaluation


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probabilities of logits, shape (rows, labels).

    Example:
        >>> softmax(np.array([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def evaluate_logits(
    logits: NDArray[np.floating], labels: NDArray[np.int64], *, label_names: Sequence[str]
) -> Evaluation:
    """Return every score of one model on one part of the data.

    Args:
        logits: scores before softmax, shape (rows, labels); log probabilities do as well.
        labels: index of the true class, shape (rows,).
        label_names: in the order of the logits' columns.

    Example:
        >>> logits = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
        >>> round(evaluate_logits(logits, np.array([0, 1, 0]), label_names=["no", "yes"]).accuracy, 3)
        0.667
    """
    classes = list(range(len(label_names)))
    predictions = logits.argmax(axis=1).astype(np.int64)
    probabilities = softmax(logits)
    return Evaluation(
        rows=len(labels),
        accuracy=float(accuracy_score(labels, predictions)),
        accuracy_interval=accuracy_interval(labels, predictions[None], classes=len(classes)),
        macro_f1=macro_f1(logits, labels),
        macro_f1_interval=macro_f1_interval(labels, predictions[None], classes=len(classes)),
        weighted_f1=float(f1_score(labels, predictions, labels=classes, average="weighted", zero_division=0)),
        log_loss=float(log_loss(labels, probabilities, labels=classes)),
        roc_auc=_roc_auc(labels, probabilities),
        per_class=_class_scores(labels, predictions, label_names),
        confusion=tuple(tuple(row) for row in confusion_matrix(labels, predictions, labels=classes).tolist()),
        constant=label_names[predictions[0]] if len(np.unique(predictions)) == 1 else None,
    )


def macro_f1(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the mean of the classes' F1, from 0 to 1; a class that is never right scores 0.

    Args:
        logits: shape (rows, labels).
        labels: index of the true class, shape (rows,).
    """
    classes = list(range(logits.shape[1]))
    return float(f1_score(labels, logits.argmax(axis=1), labels=classes, average="macro", zero_division=0))


def accuracy(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the share of right predictions; arguments as for :func:`macro_f1`."""
    return float((logits.argmax(axis=1) == labels).mean())


def _roc_auc(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float | None:
    """Return one-against-rest ROC-AUC averaged over classes, or nothing where a class has no rows."""
    if len(np.unique(labels)) < probabilities.shape[1]:
        return None
    if probabilities.shape[1] == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    return float(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))


def _class_scores(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], label_names: Sequence[str]
) -> dict[str, ClassScores]:
    columns = precision_recall_fscore_support(
        labels, predictions, labels=list(range(len(label_names))), zero_division=0
    )
    return {
        name: ClassScores(precision=float(precision), recall=float(recall), f1=float(f1), support=int(support))
        for name, precision, recall, f1, support in zip(label_names, *columns, strict=True)
    }
