"""Intervals against scipy, statsmodels and scikit-learn on the drawn rows, and how often they hold the truth."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import bootstrap
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from statsmodels.stats.proportion import proportion_confint

from distilora.evaluation.intervals import accuracy_interval, macro_f1_interval, wilson_interval
from distilora.evaluation.resampling import corrected_interval, row_weights
from distilora.evaluation.score_intervals import ScoreIntervals, score_intervals

NAMES = ("hate speech", "neither", "offensive")
# Shares of (true, predicted) of a student on 2,242 tweets: 6 %, 17 % and 78 % of rows, F1 0.47, 0.88 and 0.95.
CONFUSION = np.array([[56, 17, 55], [5, 360, 10], [50, 65, 1624]]) / 2242
TRUE_ACCURACY = np.trace(CONFUSION)
TRUE_MACRO_F1 = (2 * np.diag(CONFUSION) / (CONFUSION.sum(0) + CONFUSION.sum(1))).mean()
Classes = NDArray[np.int64]


def scored(*, rows: int, seeds: int = 1, classes: int = 3, seed: int = 0) -> tuple[Classes, NDArray[np.float64]]:
    """Return classes, uneven and each with rows, and probabilities that lean to them, shape (seeds, rows, classes)."""
    draw = np.random.default_rng(seed)
    shares = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    labels = np.concatenate([np.arange(classes), draw.choice(classes, rows - classes, p=shares)])
    logits = draw.normal(size=(seeds, rows, classes))
    logits[:, np.arange(rows), labels] += 1.2
    return labels, softmax(logits, axis=2)


def simulated(*, rows: int, seed: int) -> tuple[Classes, Classes]:
    """Return true and predicted classes whose accuracy and macro-F1 are known."""
    kinds = np.random.default_rng(seed).choice(9, rows, p=CONFUSION.ravel())
    return kinds // 3, kinds % 3


def by_scikit_learn(labels: Classes, probabilities: NDArray[np.float64], classes: int) -> list[float]:
    """Return every score that has a corrected interval, one seed; AUC is NaN where a class has no rows."""
    predicted, every = probabilities.argmax(axis=1), range(classes)
    options = {"labels": list(every), "average": None, "zero_division": 0}
    f1 = f1_score(labels, predicted, **options)
    known = len(np.unique(labels)) == classes
    scores = probabilities[:, 1] if classes == 2 else probabilities
    return [
        accuracy_score(labels, predicted),
        f1.mean(),
        f1_score(labels, predicted, labels=list(every), average="weighted", zero_division=0),
        *precision_score(labels, predicted, **options),
        *recall_score(labels, predicted, **options),
        *f1,
        log_loss(labels, probabilities, labels=list(every)),
        brier_score_loss(labels, probabilities, labels=list(every), scale_by_half=False),
        roc_auc_score(labels, scores, multi_class="ovr") if known else np.nan,
    ]


def flattened(found: ScoreIntervals) -> list[tuple[float, float]]:
    classes = [one for one in found.per_class.values() if one is not None]
    assert found.roc_auc is not None
    intervals = [
        found.accuracy,
        found.macro_f1,
        found.weighted_f1,
        *(one.precision for one in classes),
        *(one.recall for one in classes),
        *(one.f1 for one in classes),
        found.log_loss,
        found.brier_score,
        found.roc_auc,
    ]
    return [(interval.low, interval.high) for interval in intervals]


@pytest.mark.parametrize("classes", [2, 3])
def test_every_interval_is_that_of_scikit_learn_s_scores_of_the_drawn_rows(classes: int) -> None:
    labels, probabilities = scored(rows=24, seeds=2, classes=classes)
    found = score_intervals(labels, probabilities, label_names=NAMES[:classes], seed=7, resamples=20)

    def scores(rows: Classes) -> NDArray[np.float64]:
        return np.mean([by_scikit_learn(labels[rows], one[rows], classes) for one in probabilities], axis=0)

    (weights,) = row_weights(24, seed=7, resamples=20)
    draws = np.array([scores(np.repeat(np.arange(24), drawn.astype(int))) for drawn in weights])
    without = np.array([scores(np.delete(np.arange(24), row)) for row in range(24)])
    value = scores(np.arange(24))
    for index, interval in enumerate(flattened(found)):
        expected = corrected_interval(value[index], draws[:, index], without=without[:, index])
        assert interval == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("rows", [12, 150])
def test_the_corrected_interval_is_scipy_s(rows: int) -> None:
    values = np.random.default_rng(rows).exponential(size=rows)
    found = bootstrap((values,), np.mean, method="BCa", n_resamples=1999, rng=np.random.default_rng(1))
    without = (values.sum() - values) / (rows - 1)
    interval = corrected_interval(values.mean(), found.bootstrap_distribution, without=without)
    assert (interval.low, interval.high) == pytest.approx(tuple(found.confidence_interval), abs=1e-9)


def test_a_resample_draws_as_many_rows_as_there_are_and_each_row_once_on_average() -> None:
    drawn = np.concatenate(list(row_weights(400, seed=3, resamples=4000)))
    assert drawn.shape == (4000, 400)
    assert set(drawn.sum(axis=1)) == {400.0}
    assert drawn.mean(axis=0) == pytest.approx(np.ones(400), abs=0.08)  # 5 standard deviations
    assert drawn.var() == pytest.approx(1 - 1 / 400, abs=0.01)  # of a binomial of 400 draws


@pytest.mark.parametrize("rows", [200, 600])
def test_nineteen_of_twenty_intervals_hold_the_truth_of_uneven_classes(rows: int) -> None:
    held = np.zeros(2)
    for trial in range(500):
        labels, predicted = simulated(rows=rows, seed=trial)
        options = {"classes": 3, "seed": trial, "resamples": 400}
        accuracy = accuracy_interval(labels, predicted[None], **options)
        macro = macro_f1_interval(labels, predicted[None], **options)
        held += [accuracy.low <= TRUE_ACCURACY <= accuracy.high, macro.low <= TRUE_MACRO_F1 <= macro.high]
    assert (held / 500 >= 0.92).all(), held
    assert (held / 500 <= 0.97).all(), held


@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_the_interval_of_the_calibration_error_holds_the_truth(heat: float) -> None:
    def rows(draw: np.random.Generator, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        margins = np.abs(draw.normal(1.8, 1.2, number))
        return 1 / (1 + np.exp(-margins)), 1 / (1 + np.exp(-margins / heat))  # confidence, chance of being right

    many = rows(np.random.default_rng(0), 200_000)
    truth = (many[0] - many[1]).mean()  # one sign everywhere, so that bins make no difference
    held = 0
    for trial in range(60):
        draw = np.random.default_rng(trial)
        confidence, chance = rows(draw, 500)
        labels = (draw.random(500) >= chance).astype(np.int64)
        probabilities = np.stack([confidence, 1 - confidence], axis=1)[None]
        found = score_intervals(labels, probabilities, label_names=["a", "b"], resamples=200)
        held += found.expected_calibration_error.low <= truth <= found.expected_calibration_error.high
    assert held >= 50


def test_two_thousand_resamples_of_five_thousand_rows_give_every_interval_within_two_seconds() -> None:
    labels, probabilities = scored(rows=5000, seeds=3)
    began = time.process_time()
    score_intervals(labels, probabilities, label_names=NAMES)
    assert time.process_time() - began < 2


def test_one_score_by_itself_has_the_interval_it_has_among_all() -> None:
    labels, probabilities = scored(rows=300, seeds=3)
    together = score_intervals(labels, probabilities, label_names=NAMES, seed=5)
    predicted = probabilities.argmax(axis=2)
    assert macro_f1_interval(labels, predicted, classes=3, seed=5) == together.macro_f1
    assert accuracy_interval(labels, predicted, classes=3, seed=5) == together.accuracy


def test_labels_chosen_by_a_threshold_move_only_what_depends_on_labels() -> None:
    labels, probabilities = scored(rows=300)
    chosen = np.where(probabilities[..., 0] > 0.2, 0, probabilities.argmax(axis=2))
    likeliest = score_intervals(labels, probabilities, label_names=NAMES)
    found = score_intervals(labels, probabilities, label_names=NAMES, predictions=chosen)
    assert found.macro_f1 == macro_f1_interval(labels, chosen, classes=3)
    assert found.macro_f1 != likeliest.macro_f1
    assert (found.log_loss, found.roc_auc) == (likeliest.log_loss, likeliest.roc_auc)


def test_what_has_no_rows_has_no_interval() -> None:
    labels, probabilities = scored(rows=60, classes=3)
    found = score_intervals(np.minimum(labels, 1), probabilities, label_names=NAMES, resamples=100)
    assert found.roc_auc is None
    assert found.per_class["offensive"] is None
    assert list(found.per_class) == list(NAMES)
    assert ScoreIntervals.model_validate_json(found.model_dump_json()) == found


def test_a_class_of_one_row_leaves_every_interval_finite() -> None:
    labels, probabilities = scored(rows=30, classes=2)
    labels = np.array([1] + [0] * 29)
    found = score_intervals(labels, probabilities, label_names=NAMES[:2], resamples=200)
    assert np.isfinite(flattened(found)).all()


def test_a_model_that_says_the_same_of_every_row_separates_nothing() -> None:
    labels = np.array([0, 1, 1, 1] * 25)
    found = score_intervals(labels, np.tile([0.25, 0.75], (1, 100, 1)), label_names=["a", "b"])
    assert found.roc_auc is not None
    assert (found.roc_auc.low, found.roc_auc.high) == (0.5, 0.5)
    assert found.expected_calibration_error.low == 0.0  # it says 75 %, and 75 % it is


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.int64, st.tuples(st.just(3), st.integers(1, 25)), elements=st.integers(0, 2)),
)
def test_an_interval_holds_the_score_and_stays_within_its_range(columns: Classes) -> None:
    labels, predictions = columns[0], columns[1:]
    interval = macro_f1_interval(labels, predictions, classes=3, resamples=100)
    f1 = [f1_score(labels, one, labels=[0, 1, 2], average="macro", zero_division=0) for one in predictions]
    assert 0 <= interval.low <= np.mean(f1) + 1e-12
    assert np.mean(f1) - 1e-12 <= interval.high <= 1


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_the_interval_of_a_share_is_statsmodels(hits_and_rows: tuple[int, int]) -> None:
    interval = wilson_interval(*hits_and_rows)
    expected = proportion_confint(*hits_and_rows, method="wilson")
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)


def test_what_does_not_fit_together_is_refused() -> None:
    labels, probabilities = scored(rows=30)
    predicted = probabilities.argmax(axis=2)
    with pytest.raises(ValueError, match=r"need \(rows,\) and \(seeds, rows\)"):
        score_intervals(labels[:-1], probabilities, label_names=NAMES)
    with pytest.raises(ValueError, match=r"need \(rows,\) and \(seeds, rows\)"):
        accuracy_interval(labels[:0], predicted[:, :0], classes=3)
    with pytest.raises(ValueError, match=r"probabilities \(1, 30, 3\): need \(1, 30, 4\)"):
        score_intervals(labels, probabilities, label_names=[*NAMES, "other"])
    with pytest.raises(ValueError, match="predictions from 0 to 2: need classes from 0 to 1"):
        macro_f1_interval(np.minimum(labels, 1), predicted, classes=2)
    with pytest.raises(ValueError, match="labels from -1"):
        macro_f1_interval(labels - 1, predicted, classes=3)
    with pytest.raises(ValueError, match="hits 3, rows 2"):
        wilson_interval(3, 2)
