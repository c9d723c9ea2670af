"""Calibration and precision-recall curves against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn import metrics
from sklearn.calibration import calibration_curve

from distilora.evaluation.calibration import (
    Calibration,
    brier_score,
    equal_mass_bins,
    expected_calibration_error,
    measure_calibration,
    reliability_bins,
)
from distilora.evaluation.curves import PrecisionRecallCurve, precision_recall_curve
from distilora.evaluation.temperature import fit_temperature

Classes = NDArray[np.int64]


def logits_of(
    *, rows: int, classes: int = 3, sureness: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float64], Classes]:
    """Return logits, and labels drawn from their probabilities; the logits then grow by ``sureness``."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(rows, classes)) * 1.5
    chances = softmax(logits, axis=1).cumsum(axis=1)
    return logits * sureness, (draw.random(rows)[:, None] > chances[:, :-1]).sum(axis=1)


def test_the_calibration_error_is_that_of_scikit_learn_s_quantile_bins() -> None:
    logits, labels = logits_of(rows=1500, sureness=2.0)
    probabilities = softmax(logits, axis=1)
    right = probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=15, strategy="quantile")
    found = expected_calibration_error(probabilities, labels)
    assert found == pytest.approx(np.abs(accuracy - confidence).mean(), abs=1e-9)  # every bin holds 100 rows
    bins = reliability_bins(probabilities, labels)
    assert [one.rows for one in bins] == [100] * 15
    assert [one.confidence for one in bins] == pytest.approx(confidence.tolist())
    assert [one.accuracy for one in bins] == pytest.approx(accuracy.tolist())
    assert all(one.interval.low <= one.accuracy <= one.interval.high for one in bins)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_brier_score_is_scikit_learn_s(classes: int) -> None:
    logits, labels = logits_of(rows=200, classes=classes)
    probabilities = softmax(logits, axis=1)
    expected = metrics.brier_score_loss(labels, probabilities, labels=list(range(classes)), scale_by_half=False)
    assert brier_score(probabilities, labels) == pytest.approx(expected, abs=1e-12)
    if classes == 2:
        one_class = metrics.brier_score_loss(labels, probabilities[:, 1])
        assert brier_score(probabilities, labels) == pytest.approx(2 * one_class, abs=1e-12)


def test_the_fitted_temperature_mends_a_model_that_is_too_sure() -> None:
    logits, labels = logits_of(rows=4000, sureness=3.0)
    before = measure_calibration(logits, labels)
    after = measure_calibration(logits, labels, temperature=fit_temperature(logits, labels))
    assert before.temperature == 1.0
    assert after.temperature == pytest.approx(3.0, rel=0.1)
    assert before.expected_calibration_error > 0.15
    assert after.expected_calibration_error < 0.03
    assert after.brier_score < before.brier_score
    assert Calibration.model_validate_json(after.model_dump_json()) == after


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.randoms(use_true_random=False))
def test_bins_hold_the_same_number_of_rows_to_within_one(rows: int, bins: int, draw: object) -> None:
    values = np.random.default_rng(rows * 31 + bins).permutation(rows) / rows
    which = equal_mass_bins(values, bins=bins)
    sizes = np.bincount(which, minlength=bins)
    assert len(sizes) == bins
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(which[np.argsort(values)]) >= 0).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(5, 10), st.booleans()), min_size=1, max_size=50), st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing_even_among_ties(rows: list[tuple[int, bool]], seed: int) -> None:
    confidence = np.array([tenths / 10 for tenths, _ in rows])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.array([int(not right) for _, right in rows])
    order = np.random.default_rng(seed).permutation(len(rows))
    bins = reliability_bins(probabilities, labels)
    again = reliability_bins(probabilities[order], labels[order])
    assert [(one.rows, one.accuracy) for one in again] == [(one.rows, one.accuracy) for one in bins]
    assert sum(one.rows for one in bins) == len(rows)
    error = sum(one.rows * abs(one.accuracy - one.confidence) for one in bins) / len(rows)
    found = expected_calibration_error(probabilities, labels)
    assert found == pytest.approx(error, abs=1e-12)
    assert expected_calibration_error(probabilities[order], labels[order]) == pytest.approx(found, abs=1e-12)


def test_a_model_that_says_one_thing_of_all_rows_has_one_bin() -> None:
    probabilities = np.tile([0.7, 0.3], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    (only,) = reliability_bins(probabilities, labels)
    assert (only.rows, only.accuracy) == (10, 0.6)
    assert equal_mass_bins(probabilities[:, 0], bins=15).tolist() == [7] * 10  # the bin in the middle
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.1)


def test_calibration_of_what_does_not_fit_together_is_refused() -> None:
    logits, labels = logits_of(rows=10)
    with pytest.raises(ValueError, match=r"need \(rows,\), \(rows, classes\)"):
        measure_calibration(logits[:-1], labels)
    with pytest.raises(ValueError, match="temperature 0"):
        measure_calibration(logits, labels, temperature=0)
    with pytest.raises(ValueError, match="bins 0"):
        expected_calibration_error(softmax(logits, axis=1), labels, bins=0)


def curve_of(
    *, rows: int, rounded: int | None = None, threshold: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], PrecisionRecallCurve]:
    draw = np.random.default_rng(rows)
    truth = draw.random(rows) < 0.2
    scores = 1 / (1 + np.exp(1 - draw.normal(size=rows) - 1.7 * truth))
    scores = scores if rounded is None else scores.round(rounded)
    curve = precision_recall_curve(scores, truth, threshold=threshold)
    assert curve is not None
    return scores, truth, curve


@pytest.mark.parametrize("rounded", [None, 1])
def test_the_average_precision_and_the_points_are_scikit_learn_s(rounded: int | None) -> None:
    scores, truth, curve = curve_of(rows=150, rounded=rounded)
    assert curve.average_precision == pytest.approx(metrics.average_precision_score(truth, scores), abs=1e-12)
    assert curve.positive_share == truth.mean()
    precision, recall, thresholds = metrics.precision_recall_curve(truth, scores)
    expected = {round(value, 12): (p, r) for value, p, r in zip(thresholds.tolist(), precision, recall, strict=False)}
    for point in curve.points:
        assert (point.precision, point.recall) == pytest.approx(expected[round(point.threshold, 12)])
    assert curve.points[0].threshold == scores.max()
    assert curve.points[-1].recall == 1.0
    assert PrecisionRecallCurve.model_validate_json(curve.model_dump_json()) == curve


def test_a_thinned_curve_looks_like_the_whole_one() -> None:
    scores, truth, curve = curve_of(rows=5000)
    assert len(curve.points) == 200
    precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    kept = np.array([(point.recall, point.precision) for point in curve.points])
    whole = np.stack([recall[:-1], precision[:-1]], axis=1)
    begin, step = kept[:-1], np.diff(kept, axis=0)  # the lines between points that were kept
    length = np.maximum((step**2).sum(axis=1), 1e-18)
    along = np.clip(((whole[:, None] - begin) * step).sum(axis=2) / length, 0, 1)  # (points, lines)
    nearest = begin + along[..., None] * step
    distances = np.hypot(*(whole[:, None] - nearest).transpose(2, 0, 1)).min(axis=1)
    assert distances.max() < 0.005  # of a plot 400 pixels wide: 2 pixels
    assert curve.average_precision == pytest.approx(metrics.average_precision_score(truth, scores), abs=1e-12)


def test_the_chosen_threshold_has_scikit_learn_s_precision_and_recall() -> None:
    scores, truth, curve = curve_of(rows=400, threshold=0.45)
    assert curve.chosen is not None
    assert curve.chosen.precision == pytest.approx(metrics.precision_score(truth, scores >= 0.45), abs=1e-12)
    assert curve.chosen.recall == pytest.approx(metrics.recall_score(truth, scores >= 0.45), abs=1e-12)


def test_a_threshold_that_nothing_reaches_has_no_precision() -> None:
    _, _, curve = curve_of(rows=50, threshold=1.0)
    assert curve.chosen is not None
    assert (curve.chosen.precision, curve.chosen.recall) == (None, 0.0)


def test_without_positive_rows_there_is_no_curve() -> None:
    assert precision_recall_curve(np.array([0.2, 0.4]), np.array([False, False])) is None
    alone = precision_recall_curve(np.array([0.2]), np.array([True]))
    assert alone is not None
    assert len(alone.points) == 1
    with pytest.raises(ValueError, match=r"scores \(1,\), is_positive \(2,\)"):
        precision_recall_curve(np.array([0.2]), np.array([True, False]))
