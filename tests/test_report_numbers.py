"""Whether what a report tells of classes, noise and single rows agrees with computing it in another way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import permutation_test
from sklearn.metrics import f1_score, recall_score
from statsmodels.stats.multitest import multipletests

from distilora.config import ReportSettings
from distilora.errors import ConfigError, RunError
from distilora.evaluation.labelled_texts import LabelledTexts
from distilora.evaluation.resampling import row_weights
from distilora.report import Evidence, compare_runs
from distilora.report.records import Comparison
from distilora.runs import RunRecord
from evidence_cases import noise_of
from report_cases import NAMES, nameless, of, run, usual_evidence, usual_runs


@pytest.fixture(scope="module")
def runs() -> list[RunRecord]:
    return usual_runs(seeds=2)


@pytest.fixture(scope="module")
def comparison(runs: list[RunRecord]) -> Comparison:
    return compare_runs(runs, usual_evidence(runs))


def mean_shares(runs: Sequence[RunRecord]) -> NDArray[np.float64]:
    return np.mean([softmax(one.test_logits, axis=1) for one in runs], axis=0)


def test_class_changes_are_those_of_a_plain_loop_over_the_same_resamples(
    runs: list[RunRecord], comparison: Comparison
) -> None:
    truth = runs[0].test_labels
    weights = np.concatenate(list(row_weights(len(truth), seed=0, resamples=2000)))
    for method in ("odd", "lora"):
        for code, change in enumerate(comparison.row(method).class_changes):
            rows = truth == code
            recalls, draws = {}, {}
            for name in (method, "teacher"):
                found = [one.test_predictions[rows] == code for one in of(runs, name)]
                recalls[name] = np.mean([recall_score(rows, one.test_predictions == code) for one in of(runs, name)])
                draws[name] = np.mean(
                    [weights[:, rows] @ right / weights[:, rows].sum(axis=1) for right in found], axis=0
                )
            value = recalls[method] - recalls["teacher"]
            reach = np.quantile(np.abs(draws[method] - draws["teacher"] - value), 0.95)
            assert (change.name, change.rows) == (NAMES[code], rows.sum())
            assert change.value == pytest.approx(value, abs=1e-6)
            assert [change.interval.low, change.interval.high] == pytest.approx(
                [value - reach, value + reach], abs=1e-6
            )


def test_p_of_a_class_change_is_that_of_every_flip_or_of_mcnemar_corrected_for_all_of_them(
    runs: list[RunRecord], comparison: Comparison
) -> None:
    truth = runs[0].test_labels
    changes = [(method, one) for method in ("odd", "lora") for one in comparison.row(method).class_changes]
    for method, change in changes:
        code = NAMES.index(change.name)
        rows = truth == code
        ahead = sum(
            sign * (one.test_predictions[rows] == code).astype(int)
            for name, sign in ((method, 1), ("teacher", -1))
            for one in of(runs, name)
        )
        drawn = permutation_test((ahead,), np.sum, permutation_type="samples", n_resamples=4000, rng=1).pvalue
        assert change.p == pytest.approx(drawn, abs=0.035)  # 4 standard deviations
    corrected = multipletests([one.p for _, one in changes], method="holm")[1]
    assert [one.p_holm for _, one in changes] == pytest.approx(corrected.tolist(), abs=1e-9)


def test_a_class_of_four_rows_that_are_all_lost_is_not_shown_to_be_lost() -> None:
    names = ("rare", "common")
    teacher = run("teacher", names=names, wrong=())
    labels = np.arange(len(teacher.test_labels)) % 60 > 0  # 4 rows of the first class
    said = {"teacher": labels.astype(np.int64), "odd": np.ones(len(labels), dtype=np.int64)}
    records = [
        replace(run(name, names=names), test_labels=labels.astype(np.int64), test_predictions=one, test_logits=None)
        for name, one in said.items()
    ]
    rare, _ = compare_runs(records).row("odd").class_changes
    assert (rare.rows, rare.value, rare.p) == (4, -1.0, pytest.approx(0.125))
    assert rare.interval.high < 0  # a bootstrap knows no rows but these
    assert not rare.is_shown


def test_only_what_is_held_against_the_teacher_has_changes_and_disagreements(comparison: Comparison) -> None:
    compared = {row.method for row in comparison.methods if row.class_changes}
    assert compared == {row.method for row in comparison.methods if row.disagreements} == {"odd", "lora"}


def test_a_method_that_answers_as_the_teacher_changes_no_class() -> None:
    teacher = run("teacher", wrong=range(9))
    changes = compare_runs([teacher, run("odd", wrong=range(9))]).row("odd").class_changes
    assert [(one.value, one.interval.low, one.interval.high) for one in changes] == [(0, 0, 0)] * 3


def test_other_test_labels_than_the_teacher_s_are_refused() -> None:
    odd = run("odd")
    with pytest.raises(RunError, match="hold different test labels"):
        compare_runs([run("teacher"), replace(odd, test_labels=(odd.test_labels + 1) % 3)])


def test_drops_under_noise_are_those_of_scikit_learn(runs: list[RunRecord], comparison: Comparison) -> None:
    noise = {seed: noise_of(one) for seed, one in enumerate(of(runs, "odd"))}
    truth = runs[0].test_labels[noise[0].positions]
    for drop in comparison.row("odd").noise:
        clean, noisy = (
            np.mean([f1_score(truth, one.argmax(axis=1), average="macro") for one in answers])
            for answers in ([one.clean for one in noise.values()], [one.noisy[drop.kind] for one in noise.values()])
        )
        assert drop.drop == pytest.approx(clean - noisy, abs=1e-6)
        assert drop.interval.low <= drop.drop <= drop.interval.high
    assert comparison.noise_rows == len(truth) == 120
    assert [drop.kind for drop in comparison.row("odd").noise] == list(noise[0].noisy)
    assert comparison.row("tfidf").noise == ()


def test_a_seed_that_was_not_asked_or_asked_otherwise_leaves_the_drops_out(runs: list[RunRecord]) -> None:
    evidence = usual_evidence(runs)
    odd, lora = of(runs, "odd")[1], of(runs, "lora")[1]
    noise = {**evidence.noise, ("odd", 1): noise_of(odd, every=3), ("lora", 1): noise_of(lora, seed=9)}
    without = {key: one for key, one in evidence.noise.items() if key != ("teacher", 0)}
    comparison = compare_runs(runs, replace(evidence, noise=noise))
    assert comparison.row("odd").noise == comparison.row("lora").noise == ()
    assert comparison.row("teacher").noise
    assert comparison.noise_rows == 120
    assert compare_runs(runs, replace(evidence, noise=without)).row("teacher").noise == ()


def test_disagreements_are_counted_from_the_mean_probabilities_of_the_seeds(
    runs: list[RunRecord], comparison: Comparison
) -> None:
    teacher, odd = (mean_shares(of(runs, method)) for method in ("teacher", "odd"))
    truth, found = runs[0].test_labels, comparison.row("odd").disagreements
    differ = [row for row in range(240) if teacher[row].argmax() != odd[row].argmax()]
    assert (found.rows, found.count) == (240, len(differ))
    assert found.teacher_right == sum(teacher[row].argmax() == truth[row] for row in differ)
    sure = max(differ, key=lambda row: min(teacher[row].max(), odd[row].max()))
    assert (found.top[0].row, found.top[0].text[:8]) == (3 * sure + 1, "comment ")
    assert found.top[0].student_probability == pytest.approx(odd[sure].max(), abs=1e-6)


def test_label_errors_are_those_that_the_best_method_doubts(runs: list[RunRecord], comparison: Comparison) -> None:
    probabilities, truth = mean_shares(of(runs, comparison.best)), runs[0].test_labels
    means = [probabilities[truth == code, code].mean() for code in range(3)]
    assert list(comparison.label_errors.thresholds.values()) == pytest.approx(means, abs=1e-6)
    doubted = 0
    for row, label in zip(probabilities, truth, strict=True):
        reached = [code for code in range(3) if row[code] >= means[code]]
        guess = max(reached, key=lambda code: row[code], default=label)
        doubted += guess != label and row[label] < max(np.delete(row, label))
    assert comparison.label_errors.count == doubted > 0


def test_with_no_comments_wanted_only_the_counts_stay(runs: list[RunRecord], comparison: Comparison) -> None:
    quiet = compare_runs(runs, usual_evidence(runs, settings=ReportSettings(error_rows=0)))
    loud, found = comparison.row("odd").disagreements, quiet.row("odd").disagreements
    assert found == loud.model_copy(update={"top": ()})
    assert quiet.label_errors == comparison.label_errors.model_copy(update={"top": ()})
    assert "so it goes" in comparison.model_dump_json()
    assert "so it goes" not in quiet.model_dump_json()


def test_texts_of_other_rows_are_refused(runs: list[RunRecord]) -> None:
    rows = LabelledTexts(["one"], np.array([0]), NAMES, np.array([1]))
    with pytest.raises(ValueError, match="shape"):
        compare_runs(runs, Evidence(test_rows=rows))


def test_what_was_measured_stands_in_the_comparison_and_comes_back_from_its_json(
    runs: list[RunRecord], comparison: Comparison
) -> None:
    evidence = usual_evidence(runs)
    assert comparison.costs == evidence.costs
    assert comparison.layers == evidence.layers
    assert comparison.suites == evidence.suites
    assert comparison.row("odd").training_memory_mib == 910.0
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_without_evidence_nothing_measured_is_told_and_all_that_logits_hold_still_is(
    runs: list[RunRecord], comparison: Comparison
) -> None:
    bare = compare_runs(runs)
    assert bare.costs is bare.noise_rows is bare.label_errors is None
    assert bare.layers == bare.suites == ()
    for row in bare.methods:
        known = comparison.row(row.method)
        assert row == known.model_copy(update={"noise": (), "disagreements": None})
    assert bare.recommendation.best == comparison.recommendation.best


def test_a_seed_whose_memory_is_not_known_leaves_it_out() -> None:
    assert (
        compare_runs([run("odd"), run("odd", seed=1, training_memory_mib=None)]).row("odd").training_memory_mib is None
    )


def test_limits_of_the_settings_reach_the_recommendation(runs: list[RunRecord]) -> None:
    tight = compare_runs(runs, usual_evidence(runs, settings=ReportSettings(max_size_mb=30))).recommendation
    assert (tight.rule, tight.method, tight.limits.max_size_mb) == ("limits", "odd", 30)
    with pytest.raises(ConfigError, match="min_recall"):
        compare_runs([nameless(one) for one in runs], Evidence(settings=ReportSettings(min_recall=0.9)))
