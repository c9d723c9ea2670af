"""Paired tests against statsmodels and against resampling row by row with scikit-learn."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from distilora.evaluation.intervals import difference_interval
from distilora.evaluation.resampling import row_weights, times_drawn
from distilora.evaluation.significance import PairTest, compare_methods, holm, mcnemar_p

Classes = NDArray[np.int64]
SHARES = np.array([0.06, 0.17, 0.77])


def predicted(labels: Classes, *, errors: float, seed: int, seeds: int = 1) -> Classes:
    """Return predictions of which a share is replaced by classes drawn at random, shape (seeds, rows)."""
    draw = np.random.default_rng(seed)
    wrong = draw.random((seeds, len(labels))) < errors
    return np.where(wrong, draw.choice(3, wrong.shape, p=SHARES), labels)


def true_classes(rows: int, *, seed: int = 0) -> Classes:
    return np.random.default_rng(seed).choice(3, rows, p=SHARES)


@settings(deadline=None)
@given(st.integers(0, 120), st.integers(0, 120))
def test_mcnemar_s_p_is_statsmodels(first: int, second: int) -> None:
    if first == second:
        assert mcnemar_p(first, second) == 1.0
        return
    table = [[5, first], [second, 9]]
    expected = mcnemar(table, exact=first + second < 25, correction=True).pvalue
    assert mcnemar_p(first, second) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_is_exact_below_twenty_five_rows_and_not_from_there() -> None:
    assert mcnemar_p(4, 20) == pytest.approx(mcnemar([[0, 4], [20, 0]], exact=True).pvalue, abs=1e-12)
    assert mcnemar_p(5, 20) == pytest.approx(mcnemar([[0, 5], [20, 0]], exact=False).pvalue, abs=1e-12)
    labels = np.zeros(60, dtype=np.int64)
    first, second = labels.copy(), labels.copy()
    first[:4], second[4:24] = 1, 1
    for rows, exact in ((24, True), (25, False)):
        second[24:rows] = 1
        (pair,) = compare_methods(labels, {"a": first[None], "b": second[None]}, classes=2, resamples=10)
        assert (pair.mcnemar[0].only_first, pair.mcnemar[0].only_second) == (rows - 4, 4)
        assert pair.mcnemar[0].exact is exact


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 1000).map(lambda mille: mille / 1000), max_size=12))
def test_holm_s_correction_is_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


def test_the_difference_its_interval_and_its_p_are_those_of_rows_drawn_one_by_one() -> None:
    labels = true_classes(60)
    first, second = predicted(labels, errors=0.3, seed=1, seeds=2), predicted(labels, errors=0.6, seed=2, seeds=3)
    (found,) = compare_methods(labels, {"odd": first, "even": second}, classes=3, seed=4, resamples=150)

    def difference(rows: Classes) -> float:
        each = [
            [f1_score(labels[rows], one[rows], labels=[0, 1, 2], average="macro", zero_division=0) for one in method]
            for method in (first, second)
        ]
        return float(np.mean(each[0]) - np.mean(each[1]))

    value = difference(np.arange(60))
    (weights,) = row_weights(60, seed=4, resamples=150)
    draws = np.array([difference(np.repeat(np.arange(60), drawn.astype(int))) for drawn in weights])
    moved = np.sort(np.abs(draws - value))
    assert found.value == pytest.approx(value, abs=1e-9)
    assert found.p == pytest.approx((1 + (moved >= abs(value)).sum()) / 151, abs=1e-9)
    reach = np.quantile(moved, 0.95)
    assert (found.low, found.high) == pytest.approx((value - reach, value + reach), abs=1e-9)


def test_the_difference_by_itself_has_the_interval_it_has_among_all_pairs() -> None:
    labels = true_classes(200)
    first, second = predicted(labels, errors=0.3, seed=1, seeds=2), predicted(labels, errors=0.4, seed=2)
    interval = difference_interval(labels, first, second, classes=3, seed=8, resamples=500)
    (found,) = compare_methods(labels, {"a": first, "b": second}, classes=3, seed=8, resamples=500)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_same_predictions_differ_in_nothing() -> None:
    labels = true_classes(300)
    same = predicted(labels, errors=0.3, seed=1, seeds=3)
    (found,) = compare_methods(labels, {"odd": same, "even": same.copy()}, classes=3)
    assert (found.value, found.low, found.high, found.p, found.p_holm) == (0, 0, 0, 1, 1)
    assert [(one.only_first, one.only_second, one.p) for one in found.mcnemar] == [(0, 0, 1.0)] * 3


def test_every_pair_is_tested_once_and_corrected_for_all() -> None:
    labels = true_classes(400)
    errors = {"teacher": 0.2, "odd": 0.25, "even": 0.3, "majority": 1.0}
    methods = {name: predicted(labels, errors=share, seed=9, seeds=2) for name, share in errors.items()}
    found = compare_methods(labels, methods, classes=3, resamples=2000)
    assert [(pair.first, pair.second) for pair in found] == [
        ("teacher", "odd"),
        ("teacher", "even"),
        ("teacher", "majority"),
        ("odd", "even"),
        ("odd", "majority"),
        ("even", "majority"),
    ]
    expected = multipletests([pair.p for pair in found], method="holm")[1]
    assert [pair.p_holm for pair in found] == pytest.approx(expected)
    for seed in range(2):
        expected = multipletests([pair.mcnemar[seed].p for pair in found], method="holm")[1]
        assert [pair.mcnemar[seed].p_holm for pair in found] == pytest.approx(expected)
    assert found[2].p_holm < 0.05
    assert all(0 < pair.p <= pair.p_holm <= 1 for pair in found)
    assert all(PairTest.model_validate_json(pair.model_dump_json()) == pair for pair in found)


def test_a_pair_the_other_way_round_says_the_same() -> None:
    labels = true_classes(250)
    a, b = predicted(labels, errors=0.3, seed=1), predicted(labels, errors=0.4, seed=2)
    (one,) = compare_methods(labels, {"a": a, "b": b}, classes=3, resamples=500)
    (other,) = compare_methods(labels, {"b": b, "a": a}, classes=3, resamples=500)
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))
    assert other.p == one.p
    assert other.mcnemar[0].p == one.mcnemar[0].p


def test_only_seeds_that_both_methods_have_are_compared_one_by_one() -> None:
    labels = true_classes(100)
    methods = {
        "lora": predicted(labels, errors=0.3, seed=1, seeds=3),
        "odd": predicted(labels, errors=0.3, seed=2, seeds=2),
    }
    runs = {"lora": (0, 1, 5), "odd": (5, 7)}
    (found,) = compare_methods(labels, methods, classes=3, run_seeds=runs, resamples=100)
    assert [one.seed for one in found.mcnemar] == [5]
    only = (methods["lora"][2] == labels) & (methods["odd"][0] != labels)
    assert found.mcnemar[0].only_first == only.sum()
    with pytest.raises(ValueError, match=r"odd: seeds \[5\] for 2 rows"):
        compare_methods(labels, methods, classes=3, run_seeds={"lora": (0, 1, 5), "odd": (5,)})


def test_on_fifty_rows_two_points_are_no_difference() -> None:
    for seed in range(20):
        labels = true_classes(50, seed=seed)
        first = predicted(labels, errors=0.3, seed=seed)
        second = first.copy()
        second[0, np.flatnonzero(first[0] == labels)[0]] = 1 - labels[np.flatnonzero(first[0] == labels)[0]] % 2
        (found,) = compare_methods(labels, {"a": first, "b": second}, classes=3, resamples=2000)
        assert found.p > 0.05
        assert found.low <= 0 <= found.high


def test_methods_equally_good_are_seldom_told_apart_and_others_often() -> None:
    found = {0.3: 0, 0.6: 0}
    for seed in range(200):
        labels = true_classes(200, seed=seed)
        first = predicted(labels, errors=0.3, seed=1000 + seed)
        for errors in found:
            second = predicted(labels, errors=errors, seed=5000 + seed)
            (pair,) = compare_methods(labels, {"a": first, "b": second}, classes=3, seed=seed, resamples=400)
            found[errors] += pair.p <= 0.05
    assert found[0.3] <= 18  # 10 expected at most, standard deviation 3.1
    assert found[0.6] >= 150


def test_an_interval_leaves_out_zero_where_p_is_small_and_only_there() -> None:
    labels = true_classes(150)
    methods = {str(share): predicted(labels, errors=share / 20, seed=share) for share in range(2, 12)}
    for pair in compare_methods(labels, methods, classes=3, resamples=999):
        if abs(pair.p - 0.05) > 0.002:
            assert (pair.p < 0.05) == (not pair.low <= 0 <= pair.high)


def test_fewer_than_two_methods_make_no_pair() -> None:
    labels = true_classes(10)
    assert compare_methods(labels, {"odd": labels[None]}, classes=3) == ()
    with pytest.raises(ValueError, match="need"):
        compare_methods(labels, {"odd": labels[None], "even": labels}, classes=3)


def test_a_clear_difference_is_found_however_many_methods_are_compared() -> None:
    labels = true_classes(60)
    right = {f"right-{index}": labels[None] for index in range(20)}
    wrong = {f"wrong-{index}": (labels[None] + 1) % 3 for index in range(20)}
    found = {(one.first, one.second): one.p_holm for one in compare_methods(labels, right | wrong, classes=3)}
    assert len(found) == 780
    assert found["right-0", "wrong-0"] < 0.05
    assert found["right-0", "right-1"] == 1


def test_the_draws_of_all_pairs_are_never_in_memory_together() -> None:
    labels = true_classes(30)
    methods = {f"method-{index}": predicted(labels, errors=0.4, seed=index) for index in range(40)}
    tracemalloc.start()
    found = compare_methods(labels, methods, classes=3, resamples=10_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < len(found) * 10_000 * labels.itemsize


def test_weights_that_are_asked_for_again_are_those_of_a_new_draw_and_cannot_be_changed() -> None:
    draw = np.random.default_rng(7)
    fresh = times_drawn(draw, 30, resamples=40)
    for _ in range(2):
        (kept,) = row_weights(30, seed=7, resamples=40)
        assert np.array_equal(kept, fresh)
        with pytest.raises(ValueError, match="read-only"):
            kept += 1
