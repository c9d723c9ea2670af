from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from sklearn.metrics import log_loss, precision_recall_curve, precision_recall_fscore_support

from distilora.bundles.predictions import calibrated, decide
from distilora.errors import ConfigError, ParityError
from distilora.evaluation.metrics import softmax
from distilora.evaluation.temperature import COLDEST, HOTTEST, fit_temperature
from distilora.evaluation.thresholds import Aim, choose_threshold, parse_goal, positive_probability
from distilora.export.parity import check_parity

ABOVE_1 = float(np.nextafter(np.float32(1), np.float32(2)))
"""What three probabilities can add up to."""
DRAW = np.random.default_rng(0)


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return scores, many of them tied, and which rows are positive: at least one."""
    rows = draw(st.integers(1, 30))
    some = st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0, ABOVE_1]) | st.floats(0, 1, width=32)
    scores = np.array(draw(st.lists(some, min_size=rows, max_size=rows)), dtype=np.float32)
    truth = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    truth[draw(st.integers(0, rows - 1))] = True
    return scores, truth


def reached(scores: NDArray[np.float32], truth: NDArray[np.bool_], value: float) -> tuple[float, float, float]:
    """Return precision, recall and F1 at one threshold, by scikit-learn."""
    found = precision_recall_fscore_support(truth, scores >= value, average="binary", zero_division=0)
    return float(found[0]), float(found[1]), float(found[2])


def every_outcome(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> list[tuple[float, float, float]]:
    """Return precision, recall and F1 of every threshold, counted one by one: at most one a score, and none above 1."""
    found = []
    for value in np.unique(np.minimum(scores, 1)):
        said, right = int((scores >= value).sum()), int((truth & (scores >= value)).sum())
        found.append((right / said, right / int(truth.sum()), 2 * right / (said + int(truth.sum()))))
    return found


@given(scored_rows())
def test_no_threshold_has_a_better_f1_than_the_chosen_one(rows) -> None:
    chosen = choose_threshold(*rows, goal="f1")
    assert chosen.f1 == pytest.approx(max(f1 for _, _, f1 in every_outcome(*rows)))
    assert (chosen.precision, chosen.recall, chosen.f1) == pytest.approx(reached(*rows, chosen.value))


@given(scored_rows(), st.floats(0, 1))
def test_a_precision_that_is_asked_for_is_reached_with_the_highest_recall_or_refused(rows, at_least: float) -> None:
    precise = [(recall, precision) for precision, recall, _ in every_outcome(*rows) if precision >= at_least]
    if not precise:
        with pytest.raises(ConfigError, match="no threshold reaches it"):
            choose_threshold(*rows, goal="precision", at_least=at_least)
        return
    chosen = choose_threshold(*rows, goal="precision", at_least=at_least)
    assert (chosen.recall, chosen.precision) == pytest.approx(max(precise))
    assert (chosen.precision, chosen.recall, chosen.f1) == pytest.approx(reached(*rows, chosen.value))


@given(scored_rows(), st.floats(0, 1))
def test_a_recall_that_is_asked_for_is_reached_with_the_highest_precision(rows, at_least: float) -> None:
    chosen = choose_threshold(*rows, goal="recall", at_least=at_least)
    complete = [(precision, recall) for precision, recall, _ in every_outcome(*rows) if recall >= at_least]
    assert (chosen.precision, chosen.recall) == pytest.approx(max(complete))
    assert (chosen.precision, chosen.recall, chosen.f1) == pytest.approx(reached(*rows, chosen.value))


def test_the_best_f1_is_that_of_the_precision_recall_curve() -> None:
    truth = DRAW.random(500) < 0.3
    scores = np.clip(truth * 0.4 + DRAW.random(500) * 0.6, 0, 1)
    precision, recall, _ = precision_recall_curve(truth, scores)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
    assert choose_threshold(scores, truth, goal="f1").f1 == pytest.approx(best)


def test_of_thresholds_with_the_same_f1_the_nearest_to_a_half_is_chosen() -> None:
    # One of one found (F1 2/3), or both with two wrong ones (2·2 / (4 + 2)): below 0.9, or below 0.4.
    scores = np.array([0.9, 0.8, 0.7, 0.4])
    truth = np.array([True, False, False, True])
    assert choose_threshold(scores, truth, goal="f1").value == pytest.approx(0.85 - 0.65)


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(-9, 9, width=32)),
    st.sampled_from([[1], [0, 2]]),
)
def test_the_rule_of_bundles_gives_what_the_threshold_promises(logits, positive: list[int]) -> None:
    probabilities = calibrated(logits, temperature=1.3)
    truth = np.arange(len(logits)) % 3 == 0
    chosen = choose_threshold(positive_probability(probabilities, positive), truth, goal="f1")
    said = np.isin(decide(probabilities, positive=positive, threshold=chosen.value), positive)
    found = precision_recall_fscore_support(truth, said, average="binary", zero_division=0)
    assert (chosen.precision, chosen.recall, chosen.f1) == pytest.approx(found[:3])


def test_a_threshold_stands_midway_between_two_scores() -> None:
    scores, truth = np.array([0.2, 0.6], dtype=np.float32), np.array([False, True])
    assert choose_threshold(scores, truth, goal="f1").value == pytest.approx(0.4)


def test_without_a_positive_row_no_threshold_is_chosen() -> None:
    with pytest.raises(ConfigError, match=r"no validation row is of a positive class"):
        choose_threshold(np.array([0.2, 0.6]), np.array([False, False]), goal="f1")


def test_a_goal_out_of_reach_is_told_with_the_best_that_can_be_had() -> None:
    with pytest.raises(ConfigError, match=r"precision=0\.9.*highest precision is 0\.5000 \(with recall 1\.0000\)"):
        choose_threshold(np.array([0.9, 0.6]), np.array([False, True]), goal="precision", at_least=0.9)


@pytest.mark.parametrize(
    ("text", "aim"),
    [
        ("f1", Aim("f1")),
        ("precision=0.9", Aim("precision", 0.9)),
        ("recall=1", Aim("recall", 1.0)),
    ],
)
def test_goals_are_read(text: str, aim: Aim) -> None:
    assert parse_goal(text) == aim


@pytest.mark.parametrize("text", ["accuracy", "f1=0.9", "recall"])
def test_other_goals_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write f1, precision=0\.9 or recall=0\.9"):
        parse_goal(text)


def test_no_temperature_has_a_lower_log_loss_than_the_fitted_one() -> None:
    labels = DRAW.integers(0, 3, size=400)
    logits = 5 * (np.eye(3)[labels] + DRAW.normal(scale=0.8, size=(400, 3)))
    fitted = fit_temperature(logits, labels)
    losses = {
        temperature: log_loss(labels, softmax(logits / temperature))
        for temperature in (fitted, *np.geomspace(COLDEST, HOTTEST, 200))
    }
    assert 1 < fitted < 10
    assert losses[fitted] <= min(losses.values()) + 1e-7


@given(st.floats(0.2, 5))
def test_logits_that_are_k_times_as_large_need_k_times_the_temperature(factor: float) -> None:
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, size=50)
    logits = 2 * (np.eye(2)[labels] + draw.normal(size=(50, 2)))
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor * fit_temperature(logits, labels))


def test_the_temperature_stays_in_its_range_where_every_row_is_right_or_logits_are_worse_than_none() -> None:
    labels = np.array([0, 1, 0])
    assert fit_temperature(1000 * np.eye(2)[labels], labels) == COLDEST
    assert fit_temperature(np.eye(2)[1 - labels], labels) == HOTTEST


def parity_case(*, wrong: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return logits of a model that is always right, of one that is wrong in some of the 1,000 rows, and labels."""
    labels = np.arange(1000) % 2
    trained = 4 * np.eye(2, dtype=np.float32)[labels]
    exported = trained.copy()
    exported[:wrong] = exported[:wrong, ::-1]
    return trained, exported, labels


def test_float32_logits_may_differ_by_a_ten_thousandth_and_no_more() -> None:
    trained, _, labels = parity_case(wrong=0)
    found = check_parity(trained, trained + np.float32(9e-5), labels, precision="fp32")
    assert (found.rows, found.same_labels, found.macro_f1_bundle) == (1000, 1.0, 1.0)
    assert found.largest_logit_difference == pytest.approx(9e-5, rel=0.01)
    with pytest.raises(ParityError, match=r"logits differ by up to 0\.00011, 0\.0001 is allowed"):
        check_parity(trained, trained + np.float32(1.1e-4), labels, precision="fp32")


@pytest.mark.parametrize(
    ("precision", "pruned", "instead"),
    [
        ("int8", False, "with --precision fp32$"),
        ("int8", True, "with --precision fp32 or without --prune-vocabulary$"),
        ("fp32", True, "without --prune-vocabulary$"),
    ],
)
def test_int8_and_pruned_models_may_lose_half_a_point_of_macro_f1(precision, pruned: bool, instead: str) -> None:
    trained, exported, labels = parity_case(wrong=4)
    found = check_parity(trained, exported, labels, precision=precision, pruned=pruned)
    assert found.macro_f1_bundle == pytest.approx(0.996)
    trained, exported, labels = parity_case(wrong=6)
    with pytest.raises(ParityError, match=rf"99\.40 %.*macro-F1 0\.9940 against 1\.0000.*{instead}"):
        check_parity(trained, exported, labels, precision=precision, pruned=pruned)


def test_int8_labels_must_agree_in_99_percent_even_where_the_score_rises() -> None:
    better, trained, labels = parity_case(wrong=11)
    assert check_parity(*parity_case(wrong=0), precision="int8").same_labels == 1.0
    with pytest.raises(ParityError, match=r"same labels 98\.90 %, at least 99 % is needed"):
        check_parity(trained, better, labels, precision="int8")
    better, trained, labels = parity_case(wrong=9)
    found = check_parity(trained, better, labels, precision="int8")
    assert found.macro_f1_bundle > found.macro_f1_trained


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_model_that_gives_no_numbers_is_refused(precision) -> None:
    trained, exported, labels = parity_case(wrong=0)
    exported[3, 1] = np.nan
    with pytest.raises(ParityError, match="no number for 1 of 1000"):
        check_parity(trained, exported, labels, precision=precision)
