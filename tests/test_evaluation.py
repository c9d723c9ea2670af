"""Scores against scikit-learn, and what must be beaten."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.metrics import (
    accuracy_score,
    classification_report,
    confusion_matrix,
    f1_score,
    log_loss,
    roc_auc_score,
)

from distilora.evaluation.baselines import majority_baseline
from distilora.evaluation.metrics import evaluate_answers, evaluate_logits
from distilora.evaluation.records import Evaluation
from distilora.evaluation.tfidf import tfidf_baseline

NAMES = ("hate speech", "offensive", "neither")
Classes = NDArray[np.int64]


def scored(*, rows: int = 300, classes: int = 3, seed: int = 0) -> tuple[NDArray[np.float64], Classes]:
    """Return logits that lean to the true class, and the classes, which are uneven."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(classes, rows, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    logits = draw.normal(size=(rows, classes))
    logits[np.arange(rows), labels] += 1.2
    return logits, labels


@pytest.mark.parametrize("classes", [2, 3])
def test_every_score_is_scikit_learn_s(classes: int) -> None:
    logits, labels = scored(classes=classes)
    names = NAMES[:classes]
    predicted, probabilities = logits.argmax(axis=1), softmax(logits, axis=1)
    found = evaluate_logits(logits, labels, label_names=names)
    assert found.rows == 300
    assert found.accuracy == accuracy_score(labels, predicted)
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-12)
    assert found.weighted_f1 == pytest.approx(f1_score(labels, predicted, average="weighted"), abs=1e-12)
    assert found.log_loss == pytest.approx(log_loss(labels, probabilities))
    scores = probabilities[:, 1] if classes == 2 else probabilities
    assert found.roc_auc == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))
    assert [list(row) for row in found.confusion] == confusion_matrix(labels, predicted).tolist()
    report = classification_report(labels, predicted, target_names=names, output_dict=True)
    for name in names:
        one = found.per_class[name]
        assert [one.precision, one.recall, one.f1, one.support] == pytest.approx(list(report[name].values()), abs=1e-12)
    assert found.constant is None
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_log_probabilities_score_as_their_logits_do() -> None:
    logits, labels = scored()
    by_logits = evaluate_logits(logits, labels, label_names=NAMES)
    by_logs = evaluate_logits(log_softmax(logits, axis=1), labels, label_names=NAMES)
    assert by_logs.log_loss == pytest.approx(by_logits.log_loss)
    assert by_logs.confusion == by_logits.confusion


def test_another_rule_for_labels_moves_only_what_depends_on_labels() -> None:
    logits, labels = scored()
    probabilities = softmax(logits, axis=1)
    chosen = np.where(probabilities[:, 0] > 0.2, 0, logits.argmax(axis=1))
    likeliest = evaluate_logits(logits, labels, label_names=NAMES)
    found = evaluate_answers(chosen, probabilities, labels, label_names=NAMES)
    assert found.macro_f1 == pytest.approx(f1_score(labels, chosen, average="macro"), abs=1e-12)
    assert [list(row) for row in found.confusion] == confusion_matrix(labels, chosen).tolist()
    assert (found.log_loss, found.roc_auc) == (likeliest.log_loss, likeliest.roc_auc)


def test_what_cannot_be_measured_is_nothing_and_one_answer_for_all_is_told() -> None:
    logits = np.tile([0.0, 5.0, 1.0], (8, 1))
    found = evaluate_logits(logits, np.array([0, 1] * 4), label_names=NAMES)
    assert found.roc_auc is None
    assert found.constant == "offensive"
    assert found.per_class["neither"].support == 0
    assert found.macro_f1 == pytest.approx(2 / 3 / 3)  # a class without rows or predictions scores 0
    assert found.confusion == ((0, 4, 0), (0, 4, 0), (0, 0, 0))
    assert len(found.confusion) == 3


def test_logits_of_any_size_give_finite_scores() -> None:
    found = evaluate_logits(np.array([[1e30, -1e30], [-1e30, 1e30]]), np.array([0, 0]), label_names=NAMES[:2])
    assert found.accuracy == 0.5
    assert np.isfinite(found.log_loss)


def test_the_majority_baseline_says_the_class_shares_of_the_training_rows() -> None:
    labels = np.array([2, 2, 2, 0])
    baseline = majority_baseline(labels, classes=3, validation_rows=2, test_rows=5)
    assert np.exp(baseline.test_logits[0]) == pytest.approx([0.25, 0, 0.75], abs=1e-9)
    assert baseline.test_logits.argmax(axis=1).tolist() == [2] * 5
    assert baseline.validation_logits.shape == (2, 3)
    found = evaluate_logits(baseline.test_logits, np.array([2, 2, 2, 0, 0]), label_names=NAMES)
    assert found.constant == "neither"
    assert found.log_loss == pytest.approx(-(3 * np.log(0.75) + 2 * np.log(0.25)) / 5)
    assert baseline.parameters is None


def test_tf_idf_learns_words_that_tell_and_knows_its_size() -> None:
    texts = [f"{'vile rotten' if row % 3 == 0 else 'fresh warm'} bread number {row}" for row in range(60)]
    labels = np.array([int(row % 3 == 0) for row in range(60)])
    baseline = tfidf_baseline(texts, labels, texts[:9], labels[:9], ["rotten vile milk", "warm fresh milk", "unseen"])
    assert baseline.test_logits.argmax(axis=1).tolist()[:2] == [1, 0]
    assert np.exp(baseline.test_logits).sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-6)
    assert baseline.validation_logits.shape == (9, 2)
    kept = [[word for word in text.split() if len(word) > 1] for text in texts]  # scikit-learn's words
    pairs = {pair for words in kept for pair in itertools.pairwise(words)}
    assert baseline.parameters == len(pairs) + len({word for words in kept for word in words}) + 1


def test_tf_idf_makes_do_with_characters_where_no_text_has_a_word() -> None:
    texts, labels = ["😀", "💩", "😀 😀", "💩 !"] * 3, np.array([0, 1, 0, 1] * 3)
    baseline = tfidf_baseline(texts, labels, texts, labels, ["💩💩", "😀😀"])
    assert baseline.test_logits.argmax(axis=1).tolist() == [1, 0]
