"""What a model must beat to be worth its weights: the commonest class, and TF-IDF with logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from distilora.evaluation.metrics import macro_f1

_SMALLEST_PROBABILITY = 1e-12
_STRENGTHS = (1.0, 10.0)
_CLASS_WEIGHTS = (None, "balanced")


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
    row = np.log(np.maximum(shares, _SMALLEST_PROBABILITY)).astype(np.float32)
    return Baseline(
        validation_logits=np.tile(row, (validation_rows, 1)),
        test_logits=np.tile(row, (test_rows, 1)),
        parameters=None,
        notes="class frequencies of the training rows",
    )


def tfidf_baseline(
    train_texts: Sequence[str],
    train_labels: NDArray[np.int64],
    validation_texts: Sequence[str],
    validation_labels: NDArray[np.int64],
    test_texts: Sequence[str],
) -> Baseline:
    """Return TF-IDF over words and word pairs with logistic regression.

    Strength of regularisation and class weights are chosen by macro-F1 on validation.

    Args:
        train_texts: to fit on.
        train_labels: shape (training rows,); every class must occur.
        validation_texts: to choose on.
        validation_labels: shape (validation rows,).
        test_texts: to score once, at the end.
    """
    vectorizer, train = _fitted(train_texts)
    validation = vectorizer.transform(validation_texts)
    candidates = [
        LogisticRegression(C=strength, class_weight=weight, max_iter=1000).fit(train, train_labels)
        for strength in _STRENGTHS
        for weight in _CLASS_WEIGHTS
    ]
    best = max(candidates, key=lambda model: macro_f1(model.predict_proba(validation), validation_labels))
    return Baseline(
        validation_logits=_log_probabilities(best, validation),
        test_logits=_log_probabilities(best, vectorizer.transform(test_texts)),
        parameters=int(best.coef_.size + best.intercept_.size),
        notes=f"C = {best.C:g}, class weights {best.class_weight or 'none'}",
    )


def _fitted(texts: Sequence[str]) -> tuple[TfidfVectorizer, Any]:
    """Return a vectorizer, and the weights of its terms in ``texts``, shape (texts, terms)."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        return words, words.fit_transform(texts)
    except ValueError:  # no text has a word of two letters, as where all are emoji
        characters = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
        return characters, characters.fit_transform(texts)


def _log_probabilities(model: LogisticRegression, features: object) -> NDArray[np.float32]:
    probabilities = np.maximum(model.predict_proba(features), _SMALLEST_PROBABILITY)
    return np.asarray(np.log(probabilities), dtype=np.float32)
