"""Scores of predictions against true labels, with numpy alone: bundles are scored without the training libraries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.intervals import accuracy_interval, macro_f1_interval
from distilora.evaluation.ranking import mean_roc_auc
from distilora.evaluation.records import ClassScores, Evaluation
from distilora.evaluation.resampling import Classes, Tallies, class_indicators


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probabilities of logits, shape (…, classes) as given.

    Example:
        >>> softmax(np.array([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def evaluate_logits(logits: NDArray[np.floating], labels: Classes, *, label_names: Sequence[str]) -> Evaluation:
    """Return every score of one model on one part of the data; the likeliest class is the one chosen.

    Args:
        logits: scores before softmax, shape (rows, labels); log probabilities do as well.
        labels: index of the true class, shape (rows,).
        label_names: in the order of the logits' columns.

    Example:
        >>> logits = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
        >>> round(evaluate_logits(logits, np.array([0, 1, 0]), label_names=["no", "yes"]).accuracy, 3)
        0.667
    """
    return evaluate_answers(logits.argmax(axis=1), softmax(logits), labels, label_names=label_names)


def evaluate_answers(
    predictions: Classes, probabilities: NDArray[np.floating], labels: Classes, *, label_names: Sequence[str]
) -> Evaluation:
    """Return every score of one model's answers, by whatever rule they were chosen.

    Args:
        predictions: index of the class that each row was given, shape (rows,), at least one row.
        probabilities: of each class, shape (rows, classes).
        labels: index of the true class, shape (rows,).
        label_names: in the order of the probabilities' columns.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
        >>> found = evaluate_answers(np.array([0, 1, 1]), probabilities, np.array([0, 1, 0]), label_names=["no", "yes"])
        >>> round(found.accuracy, 3), found.confusion
        (0.667, ((1, 1), (0, 1)))
    """
    classes = len(label_names)
    tallies = _tallies(predictions[None], labels, classes=classes)
    confusion = np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)
    return Evaluation(
        rows=len(labels),
        accuracy=float(tallies.accuracy()[0]),
        accuracy_interval=accuracy_interval(labels, predictions[None], classes=classes),
        macro_f1=float(tallies.macro_f1()[0]),
        macro_f1_interval=macro_f1_interval(labels, predictions[None], classes=classes),
        weighted_f1=float(tallies.weighted_f1()[0]),
        log_loss=float(log_losses(probabilities, labels).mean()),
        roc_auc=mean_roc_auc(probabilities, labels),
        per_class=_class_scores(tallies, label_names),
        confusion=tuple(map(tuple, confusion.tolist())),
        constant=label_names[predictions[0]] if len(np.unique(predictions)) == 1 else None,
    )


def macro_f1(logits: NDArray[np.floating], labels: Classes) -> float:
    """Return the mean of the classes' F1, from 0 to 1; a class that is never right scores 0.

    Args:
        logits: shape (rows, labels).
        labels: index of the true class, shape (rows,).
    """
    return macro_f1_of(logits.argmax(axis=1)[None], labels, classes=logits.shape[1])


def macro_f1_of(predictions: Classes, labels: Classes, *, classes: int) -> float:
    """Return the mean of the classes' F1, from 0 to 1, seeds averaged.

    Args:
        predictions: predicted class of each row by the model of each seed, shape (seeds, rows).
        labels: index of the true class, shape (rows,).
        classes: how many there are, those without rows included.

    Example:
        >>> macro_f1_of(np.array([[0, 1], [0, 0]]), np.array([0, 1]), classes=2)  # the mean of 1 and 1/3
        0.6666666666666666
    """
    return float(_tallies(predictions, labels, classes=classes).macro_f1()[0])


def accuracy(logits: NDArray[np.floating], labels: Classes) -> float:
    """Return the share of right predictions; arguments as for :func:`macro_f1`."""
    return float((logits.argmax(axis=1) == labels).mean())


def log_losses(probabilities: NDArray[np.floating], labels: Classes) -> NDArray[np.float64]:
    """Return the negative log likelihood of each row in nats, shape (rows,).

    Args:
        probabilities: shape (rows, classes); kept a float64's precision away from 0, as in scikit-learn.
        labels: index of the true class, shape (rows,).
    """
    chances = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    smallest = np.finfo(np.float64).eps
    return -np.log(np.clip(chances, smallest, 1 - smallest))


def _tallies(predictions: Classes, labels: Classes, *, classes: int) -> Tallies:
    sums = class_indicators(labels, predictions, classes=classes).sum(axis=0, dtype=np.float64)
    return Tallies(sums[None], classes=classes)


def _class_scores(tallies: Tallies, label_names: Sequence[str]) -> dict[str, ClassScores]:
    columns = (tallies.precision()[0], tallies.recall()[0], tallies.f1()[0], tallies.true[0, 0])
    return {
        name: ClassScores(precision=float(precision), recall=float(recall), f1=float(f1), support=int(support))
        for name, precision, recall, f1, support in zip(label_names, *columns, strict=True)
    }
