"""Whether what a report tells of probabilities agrees with computing it in another way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import bootstrap
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_fscore_support,
    recall_score,
)

from distilora.evaluation.score_intervals import score_intervals
from distilora.report import Evidence, compare_runs
from distilora.report.records import Comparison
from distilora.runs import RunRecord
from report_cases import NAMES, nameless, of, run, usual_evidence, usual_runs

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def runs() -> list[RunRecord]:
    return usual_runs(seeds=2)


@pytest.fixture(scope="module")
def comparison(runs: list[RunRecord]) -> Comparison:
    return compare_runs(runs, usual_evidence(runs))


def best_temperature(record: RunRecord) -> float:
    """Return what scipy finds to be the best temperature on validation rows."""
    rows = np.arange(len(record.validation_labels))

    def loss(inverse: float) -> float:
        return -float(log_softmax(record.validation_logits * inverse, axis=1)[rows, record.validation_labels].mean())

    return 1 / minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10}).x


def shares(record: RunRecord) -> NDArray[np.float64]:
    """Return the probabilities of the test rows at the best temperature."""
    return softmax(record.test_logits / best_temperature(record), axis=1)


def test_errors_after_the_temperature_are_those_of_probabilities_softened_by_hand(
    runs: list[RunRecord], comparison: Comparison
) -> None:
    row, errors, brier = comparison.row("odd"), [], []
    for record, calibration in zip(of(runs, "odd"), row.calibrated, strict=True):
        probabilities, truth = shares(record), record.test_labels
        assert calibration.temperature == pytest.approx(best_temperature(record), rel=1e-5)
        order = np.argsort(probabilities.max(axis=1))
        right = probabilities.argmax(axis=1) == truth
        bins = np.array_split(order, 15)  # 240 rows: 16 each
        gaps = [abs((right[rows] - probabilities[rows].max(axis=1)).sum()) for rows in bins]
        errors.append(sum(gaps) / len(truth))
        brier.append(sum(brier_score_loss(truth == code, probabilities[:, code]) for code in range(3)))
    assert row.calibrated_error.mean == pytest.approx(np.mean(errors), abs=1e-6)
    assert row.calibrated_error.sd == pytest.approx(np.std(errors, ddof=1), abs=1e-6)
    assert row.calibrated_brier_score.mean == pytest.approx(np.mean(brier), abs=1e-6)
    assert row.calibrated_brier_score.mean < row.brier_score.mean
    assert row.calibration[0].temperature == 1


def test_the_interval_of_the_brier_score_after_the_temperature_is_that_of_scipy(
    runs: list[RunRecord], comparison: Comparison
) -> None:
    squares = [((shares(one) - np.eye(3)[one.test_labels]) ** 2).sum(axis=1) for one in of(runs, "lora")]
    expected = bootstrap((np.mean(squares, axis=0),), np.mean, n_resamples=4000, rng=np.random.default_rng(0))
    found = comparison.row("lora").calibrated_brier_score.interval
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.06 * width)


def test_leaving_out_areas_changes_no_other_interval() -> None:
    record = run("odd", good=1.5)
    both = [
        score_intervals(record.test_labels, shares(record)[None], label_names=NAMES, with_areas=wanted)
        for wanted in (True, False)
    ]
    assert both[0].roc_auc is not None
    assert both[1] == both[0].model_copy(update={"roc_auc": None})


def chosen_by_hand(scores: NDArray[np.float64], truth: NDArray[np.bool_], better: Callable[..., tuple]) -> float:
    """Return the best of the thresholds midway between neighbouring scores, each judged by scikit-learn."""
    reached = np.unique(scores)
    middles = (reached + np.append(0, reached[:-1])) / 2
    judged = []
    for middle in middles:
        (_, precision), (_, recall), (_, f1), _ = precision_recall_fscore_support(
            truth, scores >= middle, labels=[0, 1]
        )
        judged.append((better(precision=precision, recall=recall, f1=f1, threshold=middle), middle))
    return max(judged)[1]


GOALS: dict[str, Callable[..., tuple]] = {
    "f1": lambda *, f1, threshold, **_: (f1, -abs(threshold - 0.5)),
    "recall=0.95": lambda *, precision, recall, **_: (recall >= 0.95, precision, recall),
    "precision=0.9": lambda *, precision, recall, **_: (precision >= 0.9, recall, precision),
}


@pytest.mark.parametrize("goal", list(GOALS))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_thresholds_serve_the_goal_on_validation_rows_and_are_judged_by_scikit_learn_on_test_rows(goal: str) -> None:
    runs = [run("odd", seed=seed, good=1.8, rows=120) for seed in SEEDS]
    row, on_test, recalls, thresholds, columns = compare_runs(runs, Evidence(goal=goal)).row("odd"), [], [], [], [0]
    for record in runs:
        validation = softmax(record.validation_logits / best_temperature(record), axis=1)[:, columns].sum(axis=1)
        threshold = chosen_by_hand(validation, np.isin(record.validation_labels, columns), GOALS[goal])
        recalls.append(recall_score(record.validation_labels == 0, validation >= threshold))
        called = shares(record)[:, 0] >= threshold
        on_test.append([each[1] for each in precision_recall_fscore_support(record.test_labels == 0, called)[:3]])
        thresholds.append(threshold)
    found = row.positive
    assert found.goal == goal
    assert found.threshold.mean == pytest.approx(np.mean(thresholds), abs=1e-5)
    assert found.threshold.interval is found.validation_recall.interval is None
    assert found.validation_recall.mean == pytest.approx(np.mean(recalls), abs=1e-6)
    for score, expected in zip((found.precision, found.recall, found.f1), np.transpose(on_test), strict=True):
        assert score.mean == pytest.approx(expected.mean(), abs=1e-6)
        assert score.sd == pytest.approx(np.std(expected, ddof=1), abs=1e-6)


def test_intervals_at_the_threshold_are_those_of_scipy() -> None:
    record = run("odd", good=1.5)
    found = compare_runs([record]).row("odd").positive
    called, truth = shares(record)[:, 0] >= found.threshold.mean, record.test_labels == 0

    def recall(rows: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
        return (called[rows] & truth[rows]).sum(axis=axis) / truth[rows].sum(axis=axis)

    expected = bootstrap((np.arange(240),), recall, n_resamples=4000, rng=np.random.default_rng(0)).confidence_interval
    width = expected.high - expected.low
    assert [found.recall.interval.low, found.recall.interval.high] == pytest.approx(
        [expected.low, expected.high], abs=0.08 * width
    )
    assert found.precision.interval.low < found.precision.mean < found.precision.interval.high


def test_a_goal_out_of_reach_leaves_no_threshold_and_the_curve_without_a_mark() -> None:
    runs = [run("odd", good=1.5), run("odd", seed=1, constant=True)]
    row = compare_runs(runs, Evidence(goal="precision=0.9")).row("odd")
    assert row.positive is None
    assert row.precision_recall["positive"].chosen is None
    assert row.calibrated_error is not None


def test_the_curve_is_that_of_the_seed_that_is_best_on_validation(
    runs: list[RunRecord], comparison: Comparison
) -> None:
    odd = of(runs, "odd")
    best = max(odd, key=lambda one: one.result.validation.macro_f1)
    scores, truth = shares(best)[:, 0], best.test_labels == 0
    curve = comparison.row("odd").precision_recall["positive"]
    assert curve.average_precision == pytest.approx(average_precision_score(truth, scores), abs=1e-6)
    called = scores >= curve.chosen.threshold
    assert curve.chosen.recall == pytest.approx(recall_score(truth, called), abs=1e-6)


def test_without_positive_classes_each_class_has_a_curve_and_there_is_no_threshold() -> None:
    record = nameless(run("odd", good=1.5))
    row = compare_runs([record]).row("odd")
    assert row.positive is None
    assert tuple(row.precision_recall) == NAMES
    for code, curve in enumerate(row.precision_recall.values()):
        expected = average_precision_score(record.test_labels == code, shares(record)[:, code])
        assert curve.average_precision == pytest.approx(expected, abs=1e-6)
        assert curve.chosen is None


def test_without_logits_nothing_is_told_that_rests_on_them() -> None:
    whole, half = run("odd"), replace(run("odd", seed=1), validation_logits=None)
    row = compare_runs([whole, half]).row("odd")
    assert row.calibrated == ()
    assert row.calibrated_error is row.calibrated_brier_score is row.positive is None
    assert row.precision_recall == {}
    assert row.expected_calibration_error is not None
    assert compare_runs([whole, half]).recommendation is None
