"""Suites: hard cases and identity terms, against independent implementations and published values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pmean
from sklearn.metrics import f1_score, roc_auc_score

from distilora.evaluation.answers import answer_changes
from distilora.evaluation.intervals import difference_interval, wilson_interval
from distilora.evaluation.ranking import resampled_aucs, roc_auc
from distilora.evaluation.suites.hatecheck import HateCheckCases, hatecheck_changes, hatecheck_scores
from distilora.evaluation.suites.identity import generalised_mean, identity_outcomes
from distilora.evaluation.suites.proportions import (
    accuracy_change,
    group_accuracy,
    paired_interval,
    with_holm,
)
from distilora.evaluation.suites.records import Change, HateCheckScores, IdentityScores

NAMES = ("hate", "neither", "offensive")
counts = st.integers(0, 60)


def answers(*, rows=300, classes=3, seed=0):
    """Return labels, and logits that lean to them."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(classes, size=rows)
    logits = draw.normal(size=(rows, classes))
    logits[np.arange(rows), labels] += 1.0
    return labels, logits


def identities(*, rows=600, models=2, seed=0):
    """Return probabilities with ties, shape (models, rows), what is positive, and three groups that overlap."""
    draw = np.random.default_rng(seed)
    positive = draw.random(rows) < 0.3
    scores = np.round(1 / (1 + np.exp(-(draw.normal(size=(models, rows)) + 1.5 * positive - 0.5))), 2)
    groups = {name: draw.random(rows) < share for name, share in (("women", 0.3), ("muslims", 0.15), ("deaf", 0.2))}
    return scores, positive, groups


def test_a_change_of_answers_has_the_interval_of_the_paired_bootstrap_and_one_row_for_each_class():
    labels, logits = answers()
    first, other = logits.argmax(axis=1), answers(seed=5)[1].argmax(axis=1)
    macro_f1, accuracy, *classes = answer_changes(first, other, labels, label_names=NAMES)
    expected = difference_interval(labels, other[None], first[None], classes=3)
    assert (macro_f1.measure, macro_f1.interval) == ("macro_f1", expected)
    scores = [f1_score(labels, said, average="macro") for said in (first, other)]
    assert macro_f1.value == pytest.approx(scores[1] - scores[0], abs=1e-12)
    assert (macro_f1.p < 0.05) == (not expected.low <= 0 <= expected.high)
    assert accuracy.value == pytest.approx((other == labels).mean() - (first == labels).mean(), abs=1e-12)
    assert [one.name for one in classes] == list(NAMES)
    assert sum(one.rows * one.value for one in classes) == pytest.approx(len(labels) * accuracy.value)


def test_the_interval_of_a_paired_difference_is_the_published_one():
    # Newcombe (1998), Statistics in Medicine 17:2635, method 10 for the table (36, 12, 2, 0).
    found = paired_interval(both=36, gained=12, lost=2, rows=50)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0569, 0.3404)


@given(counts, counts, counts, counts)
def test_the_interval_of_a_paired_difference_holds_it_and_turns_round_with_the_models(both, gained, lost, neither):
    rows = both + gained + lost + neither
    if rows:
        there = paired_interval(both=both, gained=gained, lost=lost, rows=rows)
        back = paired_interval(both=both, gained=lost, lost=gained, rows=rows)
        assert -1 - 1e-9 <= there.low <= (gained - lost) / rows + 1e-9
        assert (gained - lost) / rows - 1e-9 <= there.high <= 1 + 1e-9
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)


def test_the_paired_interval_covers_the_true_difference_about_as_often_as_it_says():
    draw = np.random.default_rng(3)
    tables = draw.multinomial(60, [0.6, 0.15, 0.05, 0.2], size=1000)
    found = [paired_interval(both=a, gained=b, lost=c, rows=60) for a, b, c, _ in tables.tolist()]
    assert 0.93 <= np.mean([one.low <= 0.1 <= one.high for one in found]) <= 0.98


def test_equal_answers_have_no_change_and_p_1():
    right = np.array([True, False, True])
    change = accuracy_change(right, right, family="all", name="all rows")
    assert (change.value, change.p) == (0.0, 1.0)
    assert change.interval.low < 0 < change.interval.high


def test_holms_correction_is_the_one_worked_out_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.6 times 4, 3, 2, 1, none below the one before: 0.04, 0.06, 0.06, 0.6.
    changes = [bare_change(p) for p in (0.03, None, 0.01, 0.6, 0.02)]
    assert [one.p_holm for one in with_holm(changes)] == pytest.approx([0.06, None, 0.04, 0.6, 0.06])
    assert [one.is_shown for one in with_holm(changes)] == [False, False, True, False, False]


def bare_change(p):
    interval = wilson_interval(1, 2)
    return Change(family="all", name="", measure="accuracy", rows=1, value=0.1, interval=interval, p=p)


def hatecheck_cases():
    tests = ["threat"] * 4 + ["negated"] * 2 + ["counter"] * 2 + ["mixed"] * 2
    hateful = np.array([True] * 4 + [False] * 4 + [True, False])
    return HateCheckCases(hateful, tests, ["women"] * 3 + ["immigrants"] * 3 + [None] * 4)


def test_functional_tests_and_target_groups_stand_worst_first_with_their_right_answer():
    said = np.array([True] * 4 + [True, False] + [True, True] + [True, False])
    scores = hatecheck_scores(said, hatecheck_cases())
    assert [(one.name, one.rows, one.correct, one.expected) for one in scores.functionalities] == [
        ("counter", 2, 0, "non-hateful"),
        ("negated", 2, 1, "non-hateful"),
        ("threat", 4, 4, "hateful"),
        ("mixed", 2, 2, None),
    ]
    assert [(one.name, one.rows, one.correct) for one in scores.targets] == [("immigrants", 3, 2), ("women", 3, 3)]
    assert [(one.name, one.correct) for one in scores.labels] == [("non-hateful", 2), ("hateful", 5)]
    assert (scores.overall.correct, scores.said_hateful) == (7, 0.8)
    assert HateCheckScores.model_validate_json(scores.model_dump_json()) == scores


def test_changes_on_hatecheck_are_told_for_every_group_and_corrected_for_all():
    cases = hatecheck_cases()
    always, never = np.ones(10, dtype=bool), np.zeros(10, dtype=bool)
    changes = hatecheck_changes(always, never, cases)
    assert {(one.family, one.name) for one in changes} == {
        ("all", "all cases"),
        *(("label", name) for name in ("hateful", "non-hateful")),
        *(("functional test", name) for name in ("threat", "negated", "counter", "mixed")),
        *(("target group", name) for name in ("women", "immigrants")),
    }
    threat = next(one for one in changes if one.name == "threat")
    # Of nine p, the two of the labels are smaller, 2/2⁵: threat's 2/2⁴ comes third, times 9 - 2.
    assert (threat.value, threat.p, threat.p_holm) == (-1.0, 0.125, 0.875)


def test_cases_and_answers_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="columns of"):
        HateCheckCases(np.array([True]), ["threat", "threat"], [None])
    with pytest.raises(ValueError, match="need one each"):
        hatecheck_scores(np.array([True]), hatecheck_cases())
    with pytest.raises(ValueError, match="at least one"):
        accuracy_change(np.array([], dtype=bool), np.array([], dtype=bool), family="all", name="")


probabilities = st.lists(st.integers(0, 20).map(lambda value: value / 20), min_size=1, max_size=30)


@given(probabilities, probabilities)
def test_the_area_under_the_roc_curve_is_that_of_scikit_learn(positive, negative):
    expected = roc_auc_score([1] * len(positive) + [0] * len(negative), positive + negative)
    assert roc_auc(np.array(positive), np.array(negative)) == pytest.approx(expected, abs=1e-12)


def test_every_resampled_area_is_that_of_the_rows_that_were_drawn():
    scores, positive, _ = identities(rows=80)
    above, under = scores[:, positive], scores[:, ~positive]
    found = resampled_aucs(above, under, seed=7, resamples=20)
    draw = np.random.default_rng(7)  # the rows are drawn once for all models, positive ones first
    sizes = above.shape[1], under.shape[1]
    rows = [draw.integers(size, size=(20, size)) for size in sizes]
    expected = [[roc_auc(above[m, up], under[m, down]) for up, down in zip(*rows, strict=True)] for m in range(2)]
    assert found == pytest.approx(np.array(expected), abs=1e-12)


def test_the_interval_of_an_area_covers_the_true_one_about_as_often_as_it_says():
    draw = np.random.default_rng(0)
    true = 0.7602499389065233  # of normal scores one apart: Φ(1/√2)
    hits = 0
    for simulation in range(500):
        above, under = draw.normal(1, 1, size=(1, 80)), draw.normal(size=(1, 120))
        low, high = np.quantile(resampled_aucs(above, under, seed=simulation, resamples=500), [0.025, 0.975])
        hits += low <= true <= high
    assert 0.92 <= hits / 500 <= 0.97


def test_the_three_areas_of_a_group_are_those_of_scikit_learn_on_the_rows_that_the_paper_names():
    scores, positive, groups = identities()
    outcomes = identity_outcomes(scores, positive=positive, groups=groups, resamples=50)
    for model, outcome in enumerate(outcomes):
        assert outcome.scores.overall.value == pytest.approx(roc_auc_score(positive, scores[model]), abs=1e-12)
        for group in outcome.scores.groups:
            inside = groups[group.name]
            for found, rows in (
                (group.subgroup_auc, inside),
                (group.bpsn_auc, (inside & ~positive) | (~inside & positive)),
                (group.bnsp_auc, (inside & positive) | (~inside & ~positive)),
            ):
                assert found.value == pytest.approx(roc_auc_score(positive[rows], scores[model][rows]), abs=1e-12)
                assert found.interval.low < found.value < found.interval.high
                assert found.positives + found.negatives == rows.sum()


def test_the_means_are_scipys_power_mean_and_the_final_score_their_mean_with_the_whole():
    scores, positive, groups = identities(models=1)
    (outcome,) = identity_outcomes(scores, positive=positive, groups=groups, resamples=50)
    found = outcome.scores
    columns = [
        [getattr(group, name).value for group in found.groups] for name in ("subgroup_auc", "bpsn_auc", "bnsp_auc")
    ]
    means = [pmean(values, -5) for values in columns]
    assert [found.subgroup_mean, found.bpsn_mean, found.bnsp_mean] == pytest.approx(means, abs=1e-12)
    assert found.final == pytest.approx((found.overall.value + sum(means)) / 4, abs=1e-12)
    assert IdentityScores.model_validate_json(found.model_dump_json()) == found


def test_a_mean_with_an_area_of_0_is_0_and_never_above_the_plain_mean():
    assert generalised_mean([0.9, 0.0]) == 0.0
    assert 0.5 < generalised_mean([0.9, 0.5]) < 0.7


def test_groups_too_small_or_of_one_class_are_missing_and_not_0():
    scores, positive, groups = identities(models=1)
    groups = {"women": groups["women"], "few": np.arange(600) < 9, "harmless": ~positive & (np.arange(600) < 100)}
    (outcome,) = identity_outcomes(scores, positive=positive, groups=groups, resamples=50)
    few, harmless = (next(one for one in outcome.scores.groups if one.name == name) for name in ("few", "harmless"))
    assert (few.rows, few.subgroup_auc, few.bpsn_auc, few.bnsp_auc) == (9, None, None, None)
    assert (harmless.positives, harmless.subgroup_auc, harmless.bnsp_auc) == (0, None, None)
    assert harmless.bpsn_auc is not None
    assert outcome.scores.groups[-1].name == "few"
    women = next(one for one in outcome.scores.groups if one.name == "women")
    assert outcome.scores.subgroup_mean == pytest.approx(women.subgroup_auc.value)


def test_where_nothing_can_be_measured_the_means_are_missing_too():
    (outcome,) = identity_outcomes(
        np.full((1, 5), 0.5), positive=np.ones(5, dtype=bool), groups={"women": np.ones(5, dtype=bool)}
    )
    found = outcome.scores
    assert (found.overall, found.subgroup_mean, found.bpsn_mean, found.bnsp_mean, found.final) == (None,) * 5


def test_a_model_that_got_worse_for_one_group_alone_is_found_there_and_nowhere_else():
    scores, positive, groups = identities(rows=1500, models=1)
    hurt = scores[0].copy()
    muslims = groups["muslims"] & ~positive
    hurt[muslims] = np.clip(hurt[muslims] + 0.4, 0, 1)
    first, same, other = identity_outcomes(
        np.stack([scores[0], scores[0], hurt]), positive=positive, groups=groups, resamples=1000
    )
    assert first.changes == ()
    assert {(one.value, one.p) for one in same.changes} == {(0.0, 1.0)}
    shown = {(one.name, one.measure) for one in other.changes if one.is_shown and one.name != "all rows"}
    assert {("muslims", "subgroup_auc"), ("muslims", "bpsn_auc")} <= shown
    assert ("muslims", "bnsp_auc") not in shown
    worse = next(one for one in other.changes if (one.name, one.measure) == ("muslims", "bpsn_auc"))
    assert worse.interval.low < worse.value < worse.interval.high < 0


def test_scores_and_groups_that_do_not_fit_together_are_refused():
    scores, positive, groups = identities()
    with pytest.raises(ValueError, match="need"):
        identity_outcomes(scores[:, :-1], positive=positive, groups=groups)
    with pytest.raises(ValueError, match="least"):
        identity_outcomes(scores, positive=positive, groups=groups, least=0)


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_the_accuracy_of_a_group_lies_in_its_interval(right):
    found = group_accuracy("group", np.array(right))
    assert found.interval.low <= found.accuracy + 1e-12
    assert found.interval.high >= found.accuracy - 1e-12
    assert (found.rows, found.correct) == (len(right), sum(right))
