import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from distilora.errors import RunError
from distilora.report import compare_runs, findings
from distilora.report.wording import MISSING, number, points, printable, shortened
from report_cases import NAMES, run, usual_runs


def test_the_best_macro_f1_comes_first_and_void_methods_last():
    comparison = compare_runs(usual_runs())
    scores = [row.macro_f1.mean for row in comparison.scored]
    assert scores == sorted(scores, reverse=True)
    assert [row.method for row in comparison.methods][-1] == "even"
    assert {"majority", "tfidf"} < {row.method for row in comparison.scored}


def test_means_and_spreads_over_seeds_are_those_of_scikit_learn_and_statistics():
    runs = [run("odd", seed=seed, good=1.5) for seed in range(3)]
    row = compare_runs(runs).row("odd")
    f1 = [f1_score(r.test_labels, r.test_predictions, average="macro") for r in runs]
    accuracy = [accuracy_score(r.test_labels, r.test_predictions) for r in runs]
    by_class = np.mean([f1_score(r.test_labels, r.test_predictions, average=None) for r in runs], axis=0)
    assert row.macro_f1.mean == pytest.approx(statistics.fmean(f1))
    assert row.macro_f1.sd == pytest.approx(statistics.stdev(f1))
    assert row.accuracy.mean == pytest.approx(statistics.fmean(accuracy))
    assert [score.f1.mean for score in row.classes.values()] == pytest.approx(by_class.tolist())
    assert row.training_seconds == 101.0
    assert row.macro_f1.interval.low < row.macro_f1.mean < row.macro_f1.interval.high


def test_one_seed_has_no_spread_and_the_findings_say_that_it_shows_nothing_about_seeds():
    comparison = compare_runs(usual_runs())
    assert comparison.row("odd").macro_f1.sd is None
    assert any("One seed a method" in sentence for sentence in findings(comparison))


def test_a_void_run_has_a_reason_and_never_a_score():
    comparison = compare_runs(usual_runs())
    row = comparison.row("even")
    assert row.is_void
    assert row.accuracy is row.classes is row.confusion is row.to_teacher is None
    assert any(s.startswith("even is void") and "always hate speech" in s for s in findings(comparison))


def test_a_method_with_some_void_seeds_is_told_from_its_valid_ones():
    comparison = compare_runs([run("odd", seed=0), run("odd", seed=1, void="loss not finite")])
    row = comparison.row("odd")
    assert row.seeds == (0,)
    assert row.void[0].seed == 1
    assert any("1 of 2 seeds are void" in sentence for sentence in findings(comparison))


def test_a_method_that_repeats_the_teacher_shows_no_difference():
    teacher = run("teacher")
    twin = replace(teacher, result=teacher.result.model_copy(update={"method": "odd", "kind": "student"}))
    comparison = compare_runs([teacher, twin, run("even", good=0.3)])
    same, worse = comparison.row("odd").to_teacher, comparison.row("even").to_teacher
    assert (same.value, same.interval.low, same.interval.high, same.is_shown) == (0, 0, 0, False)
    assert worse.is_shown
    assert worse.value < 0
    told = "\n".join(findings(comparison))
    assert "no difference was found for odd (0.0 points, p = 1.000)" in told
    assert "Against the teacher: worse even (" in told


def test_a_found_difference_that_seeds_make_as_well_is_told_so():
    far_apart = [0.5, 3.0]
    runs = [run(method, good=good, seed=seed) for method in ("teacher", "odd") for seed, good in enumerate(far_apart)]
    runs[3] = run("odd", good=1.5, seed=1)
    assert any("seeds of one method vary by as much" in sentence for sentence in findings(compare_runs(runs)))


def test_methods_that_a_baseline_beats_are_named():
    comparison = compare_runs(
        [run("teacher", good=0.4), run("odd", constant=True), run("tfidf", good=1.5), run("majority", constant=True)]
    )
    assert "not above tfidf" in comparison.row("teacher").flags
    assert set(comparison.row("odd").flags) == {"one class", "not above tfidf"}
    told = "\n".join(findings(comparison))
    assert "teacher is not above TF-IDF" in told
    assert "odd: at least one seed gave every test row the same class" in told


def test_a_seed_that_never_finds_a_class_is_told_though_the_mean_hides_it():
    names, rows = ("hate", "neither", "spam"), 90
    hate = np.flatnonzero(run("odd", seed=1, names=names, rows=rows).test_labels == 0)
    blind = run("odd", seed=1, names=names, rows=rows, wrong=hate.tolist())
    comparison = compare_runs([run("odd", seed=0, names=names, rows=rows), blind])
    assert comparison.row("odd").classes["hate"].recall.mean > 0
    assert [one.missed_classes for one in comparison.row("odd").by_seed] == [(), ("hate",)]
    assert "Not one test row of a class was recognised: hate by odd with seed 1." in findings(comparison)


def test_a_class_with_too_few_test_rows_is_not_called_missed():
    names, rows = tuple("abcdefghijkl"), 60
    wrong = np.flatnonzero(run("odd", names=names, rows=rows).test_labels == 0).tolist()
    assert 0 < len(wrong) < 10
    comparison = compare_runs([run("odd", names=names, rows=rows, wrong=wrong)])
    assert comparison.row("odd").classes["a"].recall.mean == 0
    assert not any("was recognised" in sentence for sentence in findings(comparison))


def test_an_accuracy_below_the_majority_class_is_flagged():
    comparison = compare_runs([run("odd", good=-0.5), run("majority", constant=True)])
    assert "below majority" in comparison.row("odd").flags
    assert any("always saying the largest class" in sentence for sentence in findings(comparison))


def test_what_one_seed_lacks_stays_missing_for_the_method():
    without = run("odd", seed=1, training_seconds=None)
    lacking = without.result.test.model_copy(update={"roc_auc": None})
    without = without.__class__(
        **{**vars(without), "result": without.result.model_copy(update={"test": lacking}), "test_predictions": None}
    )
    row = compare_runs([run("odd", seed=0), without]).row("odd")
    assert row.roc_auc is None
    assert row.training_seconds is None
    assert row.macro_f1.interval is None
    assert row.macro_f1.mean > 0


def test_runs_on_other_data_are_refused():
    other = run("odd")
    changed = other.result.data.model_copy(update={"split_seed": 7})
    other = other.__class__(**{**vars(other), "result": other.result.model_copy(update={"data": changed})})
    with pytest.raises(RunError, match="odd, seed 0: its data or split is not that of teacher, seed 0"):
        compare_runs([run("teacher"), other])


def test_no_runs_are_an_error_and_void_runs_alone_are_a_report():
    with pytest.raises(RunError, match="no finished run"):
        compare_runs([])
    assert "No method that was trained has a score" in findings(compare_runs([run("odd", void="loss not finite")]))[0]


def test_missing_numbers_are_dashes():
    assert number(None) == MISSING == "—"


@settings(max_examples=50)
@given(st.floats(-1, 1))
def test_points_never_show_a_signed_zero(difference):
    text = points(difference)
    assert float(text.replace("−", "-")) == pytest.approx(100 * difference, abs=0.0501)
    assert text == "0.0" or text[0] in "+−"


@settings(max_examples=50)
@given(st.text(), st.integers(2, 30))
def test_foreign_text_fits_on_one_printable_line(text, limit):
    shown = shortened(text, limit)
    assert len(shown) <= limit
    assert len(printable(text).splitlines()) <= 1


def test_per_class_scores_keep_the_order_of_the_label_names():
    assert tuple(compare_runs(usual_runs()).row("odd").classes) == NAMES
