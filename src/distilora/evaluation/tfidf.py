"""What a model must beat that knows words alone: TF-IDF with logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from distilora.evaluation.baselines import Baseline, log_probabilities
from distilora.evaluation.metrics import macro_f1

_STRENGTHS = (1.0, 10.0)
_CLASS_WEIGHTS = (None, "balanced")


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
        validation_logits=log_probabilities(best.predict_proba(validation)),
        test_logits=log_probabilities(best.predict_proba(vectorizer.transform(test_texts))),
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
