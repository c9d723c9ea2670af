"""Scores against scikit-learn, intervals against a bootstrap of rows one by one, and what must be beaten."""

from __future__ import annotations

import itertools
import time

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

from distilora.evaluation.baselines import majority_baseline, tfidf_baseline
from distilora.evaluation.intervals import accuracy_interval, difference_interval, macro_f1_interval
from distilora.evaluation.metrics import evaluate_logits
from distilora.evaluation.records import Evaluation

NAMES = ("hate speech", "offensive", "neither")
Classes = NDArray[np.int64]


def scored(*, rows: int = 300, classes: int = 3, seed: int = 0) -> tuple[NDArray[np.float64], Classes]:
    """Return logits that lean to the true class, and the classes, which are uneven."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(classes, rows, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    logits = draw.normal(size=(rows, classes))
    logits[np.arange(rows), labels] += 1.2
    return logits, labels


def by_rows(labels: Classes, *predictions: Classes, resamples: int = 3000) -> list[NDArray[np.float64]]:
    """Return macro-F1 of each prediction on the same rows, drawn one by one; shape (resamples,) each."""
    draw = np.random.default_rng(99)
    scores: list[list[float]] = [[] for _ in predictions]
    for _ in range(resamples):
        rows = draw.integers(0, len(labels), len(labels))
        for own, predicted in zip(scores, predictions, strict=True):
            own.append(plain_macro_f1(labels[rows], predicted[rows]))
    return [np.array(own) for own in scores]


def plain_macro_f1(labels: Classes, predicted: Classes) -> float:
    f1 = [
        2 * ((labels == c) & (predicted == c)).sum() / max(1, (labels == c).sum() + (predicted == c).sum())
        for c in range(3)
    ]
    return float(np.mean(f1))


@pytest.mark.parametrize("classes", [2, 3])
def test_every_score_is_scikit_learn_s(classes: int) -> None:
    logits, labels = scored(classes=classes)
    names = NAMES[:classes]
    predicted, probabilities = logits.argmax(axis=1), softmax(logits, axis=1)
    found = evaluate_logits(logits, labels, label_names=names)
    assert found.rows == 300
    assert found.accuracy == accuracy_score(labels, predicted)
    assert found.macro_f1 == f1_score(labels, predicted, average="macro")
    assert found.weighted_f1 == f1_score(labels, predicted, average="weighted")
    assert found.log_loss == pytest.approx(log_loss(labels, probabilities))
    scores = probabilities[:, 1] if classes == 2 else probabilities
    assert found.roc_auc == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))
    assert [list(row) for row in found.confusion] == confusion_matrix(labels, predicted).tolist()
    report = classification_report(labels, predicted, target_names=names, output_dict=True)
    for name in names:
        one = found.per_class[name]
        assert [one.precision, one.recall, one.f1, one.support] == list(report[name].values())
    assert found.constant is None
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_log_probabilities_score_as_their_logits_do() -> None:
    logits, labels = scored()
    by_logits = evaluate_logits(logits, labels, label_names=NAMES)
    by_logs = evaluate_logits(log_softmax(logits, axis=1), labels, label_names=NAMES)
    assert by_logs.log_loss == pytest.approx(by_logits.log_loss)
    assert by_logs.confusion == by_logits.confusion


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


def test_intervals_are_those_of_a_bootstrap_of_rows_one_by_one() -> None:
    logits, labels = scored()
    predicted = logits.argmax(axis=1)
    (scores,) = by_rows(labels, predicted)
    fast = macro_f1_interval(labels, predicted[None], classes=3)
    assert [fast.low, fast.high] == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.008)
    right = (predicted == labels).astype(float)
    hits = np.random.default_rng(5).choice(right, (3000, 300)).mean(axis=1)
    fast = accuracy_interval(labels, predicted[None], classes=3)
    assert [fast.low, fast.high] == pytest.approx(np.quantile(hits, [0.025, 0.975]), abs=0.008)


def test_seeds_are_averaged_on_the_same_rows() -> None:
    predictions = np.stack([scored(seed=0)[0].argmax(1), scored(seed=0)[0][:, ::-1].argmax(1)])
    labels = scored(seed=0)[1]
    one, other = by_rows(labels, *predictions)
    fast = macro_f1_interval(labels, predictions, classes=3)
    assert [fast.low, fast.high] == pytest.approx(np.quantile((one + other) / 2, [0.025, 0.975]), abs=0.008)


def test_the_interval_of_a_difference_is_paired() -> None:
    logits, labels = scored()
    better = logits.argmax(axis=1)
    worse = np.where(np.random.default_rng(3).random(300) < 0.1, 0, better)
    first, second = by_rows(labels, better, worse)
    fast = difference_interval(labels, better[None], worse[None], classes=3)
    assert [fast.low, fast.high] == pytest.approx(np.quantile(first - second, [0.025, 0.975]), abs=0.006)
    unpaired = np.quantile(first - np.random.default_rng(0).permutation(second), [0.025, 0.975])
    assert fast.high - fast.low < 0.7 * (unpaired[1] - unpaired[0])
    same = difference_interval(labels, better[None], np.stack([better, better]), classes=3)
    assert (same.low, same.high) == (0.0, 0.0)


def test_nineteen_of_twenty_intervals_hold_the_true_accuracy() -> None:
    draw = np.random.default_rng(11)
    held = 0
    for trial in range(200):
        labels = draw.integers(0, 2, 200)
        predicted = np.where(draw.random(200) < 0.8, labels, 1 - labels)
        interval = accuracy_interval(labels, predicted[None], classes=2, seed=trial, resamples=400)
        held += interval.low <= 0.8 <= interval.high
    assert 181 <= held <= 198  # 190 expected, standard deviation 3.1


def test_two_thousand_resamples_of_five_thousand_rows_take_no_time() -> None:
    _, labels = scored(rows=5000)
    predictions = np.stack([scored(rows=5000, seed=seed)[0].argmax(axis=1) for seed in range(3)])
    began = time.process_time()
    macro_f1_interval(labels, predictions, classes=3, resamples=2000)
    assert time.process_time() - began < 2


def test_an_interval_is_the_same_each_time_and_wrong_shapes_are_refused() -> None:
    logits, labels = scored()
    predicted = logits.argmax(axis=1)
    assert macro_f1_interval(labels, predicted[None], classes=3) == macro_f1_interval(
        labels, predicted[None], classes=3
    )
    with pytest.raises(ValueError, match=r"need \(rows,\) and \(seeds, rows\)"):
        macro_f1_interval(labels, predicted, classes=3)
    with pytest.raises(ValueError, match=r"need \(rows,\) and \(seeds, rows\)"):
        accuracy_interval(labels[:0], predicted[None, :0], classes=3)


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
