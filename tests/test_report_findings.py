"""Whether the summary says first what to do, and beyond that only what is shown."""

from dataclasses import replace

import pytest
from scipy.stats import norm

from distilora.config import ReportSettings
from distilora.evaluation.records import Interval
from distilora.report import compare_runs, findings
from distilora.report.evidence import Evidence
from distilora.report.findings import answered
from distilora.report.findings.beyond_scores import dearest_noise, lost_groups, outlasts, trust
from report_cases import costs_of, run, usual_evidence, usual_runs
from section_cases import change, comparison, drop, hatecheck


def full(runs, **settings):
    return compare_runs(runs, usual_evidence(runs, settings=ReportSettings(**settings)))


def with_rows(known, method, **changes):
    """Return a comparison in which one row is changed."""
    rows = tuple(row.model_copy(update=changes) if row.method == method else row for row in known.methods)
    return known.model_copy(update={"methods": rows})


def test_the_model_to_ship_comes_first_then_the_best_on_test_then_the_students():
    told = findings(full(usual_runs(seeds=2)))
    assert told[0].startswith("Ship odd: it is the cheapest method that is not shown to be worse than teacher")
    assert "has the highest macro-F1 on the test rows" in told[1]
    assert "odd" in told[2]
    assert "lora" in told[2]


def test_the_summary_is_short():
    runs = [
        run(name, good=good, seed=seed)
        for name, good in (("teacher", 2.4), ("odd", 2.3), ("even", 2.35), ("lora", 2.1))
        for seed in range(2)
    ]
    told = findings(full([*runs, run("tfidf", good=1.2), run("majority", constant=True)]))
    assert 8 <= len(told) <= 12


def test_the_questions_that_everybody_asks_come_first_and_in_their_order():
    runs = [run(name, good=good) for name, good in (("teacher", 2.4), ("odd", 2.3), ("even", 2.35), ("lora", 2.1))]
    asked = [one.question for one in answered(full([*runs, run("tfidf", good=1.2), run("majority", constant=True)]))]
    assert asked[:5] == [
        "Which is best?",
        "Does odd differ from even?",
        "Does lora differ from both?",
        "Is anything lost against the teacher?",
        "What does each cost?",
    ]
    assert len(asked) <= 9


def test_sizes_of_models_of_unlike_precision_are_told_to_be_so():
    runs = usual_runs()
    costs = costs_of([one for one in runs if one.result.method in {"teacher", "odd"}])
    first, *others = costs.methods
    unlike = costs.model_copy(update={"methods": (first.model_copy(update={"precision": "fp32"}), *others)})
    told = "\n".join(findings(compare_runs(runs, Evidence(costs=unlike))))
    assert f"{first.method} is fp32, {others[0].method} int8" in told


def test_where_nothing_was_timed_the_weights_are_told():
    assert "Time was not measured. The weights: " in "\n".join(findings(compare_runs(usual_runs())))


def test_when_nothing_keeps_to_the_limits_the_summary_begins_with_that():
    told = findings(full(usual_runs(), max_size_mb=1))
    assert told[0].startswith("No method keeps to all limits, so none is recommended. odd comes nearest")


def test_measured_costs_are_told_beside_the_teacher():
    told = "\n".join(findings(full(usual_runs())))
    assert "teacher 37.5 MB, 8.0 ms; lora 37.5 MB, 8.0 ms (1.0 times the size, 1.0 times the time)" in told
    assert "odd 25.0 MB, 4.0 ms (0.67 times the size, 0.50 times the time)" in told
    assert "fp32" not in told


def test_times_of_a_bundle_and_of_a_trained_run_are_not_compared():
    runs = usual_runs()
    costs = costs_of([one for one in runs if one.result.method in {"teacher", "odd"}])
    mixed = costs.model_copy(
        update={
            "methods": tuple(
                one.model_copy(update={"model": "run" if one.method == "odd" else "bundle"}) for one in costs.methods
            )
        }
    )
    told = "\n".join(findings(compare_runs(runs, Evidence(costs=mixed))))
    assert "times the time" not in told
    assert "odd 25.0 MB, 4.0 ms (0.67 times the size)" in told


def test_of_many_methods_only_what_is_shown_against_the_teacher_is_told():
    runs = [
        run("teacher", wrong=range(20)),
        *(run(f"odd-{index}", wrong=range(22 + index)) for index in range(4)),
        run("even", wrong=range(100)),
    ]
    told = [line for line in findings(compare_runs(runs)) if "the teacher" in line.lower()]
    assert any(
        line.startswith("Against the teacher: worse even (") and "no difference was found for odd-0" in line
        for line in told
    )
    assert not any(" keeps " in line for line in told)


def test_fifty_rows_and_methods_within_two_points_have_no_winner_and_one_ship():
    wrong = {"teacher": range(9), "odd": range(1, 11), "lora": range(2, 12)}
    runs = [run(method, wrong=which, rows=50) for method, which in wrong.items()]
    told = findings(full(runs))
    assert told[0].startswith("Ship odd: it is the cheapest method that is not shown to be worse than")
    assert told[1].startswith("No method is shown to be the best")
    assert not any("more than chance" in line or "worse than the teacher" in line for line in told)


@pytest.mark.parametrize(("value", "reach"), [(-0.05, 0.03), (0.04, 0.035), (-0.02, 0.019), (0.1, 0.01)])
@pytest.mark.parametrize("among", [1, 3, 12])
def test_what_outlasts_a_count_is_below_the_level_of_bonferroni(value, reach, among):
    interval = Interval(low=value - reach, high=value + reach)
    p = 2 * norm.sf(abs(value) / (reach / norm.ppf(0.975)))
    assert outlasts(value, interval, among=among) == (p * among < 0.05)


def test_a_lost_class_is_told_only_where_it_is_shown_among_all_that_were_looked_at():
    known = comparison(("teacher", "odd"))
    lost = with_rows(known, "odd", class_changes=(change("hate speech", -0.1), change("neither", -0.026, p_holm=0.08)))
    (told,) = lost_groups(lost)
    assert told == (
        "odd finds less of the class hate speech than the teacher: recall −10.0 points, 95 % interval −12.5 to −7.5."
    )
    barely = with_rows(known, "odd", class_changes=(change("hate speech", -0.026, p_holm=0.08),))
    assert lost_groups(barely) == []


def test_a_group_of_a_suite_that_was_lost_is_told():
    known = comparison(("teacher", "odd"))
    (told,) = lost_groups(
        with_rows(
            known.model_copy(update={"suites": (hatecheck(("teacher", "odd"), lost=0.9),)}), "odd", class_changes=()
        )
    )
    assert told.startswith("On HateCheck, odd is shown to be worse than the teacher in ")
    same = with_rows(
        known.model_copy(update={"suites": (hatecheck(("teacher", "odd"), lost=0.0),)}), "odd", class_changes=()
    )
    assert lost_groups(same) == []


@pytest.mark.parametrize(("reach", "lines"), [(0.03, (1, 1)), (0.07, (1, 0))])
def test_a_group_that_one_of_many_methods_lost_is_told_only_where_all_methods_are_counted(reach, lines):
    known = comparison(("teacher", "odd"))
    suite = hatecheck(("teacher", "odd"), lost=0.9)
    teacher, odd = suite.models
    interval = Interval(low=-0.1 - reach, high=-0.1 + reach)
    loss = odd.changes[0].model_copy(update={"value": -0.1, "interval": interval, "p": 0.004, "p_holm": 0.004})
    nothing = loss.model_copy(update={"value": 0.0, "p": 1.0, "p_holm": 1.0})
    alone = odd.model_copy(update={"changes": (loss,)})
    crowd = odd.model_copy(update={"changes": (nothing,) * 40})
    found = [
        lost_groups(
            with_rows(
                known.model_copy(update={"suites": (suite.model_copy(update={"models": models}),)}),
                "odd",
                class_changes=(),
            )
        )
        for models in ((teacher, alone), (teacher, alone, crowd))
    ]
    assert (len(found[0]), len(found[1])) == lines


def test_the_noise_that_costs_most_is_told_where_its_cost_is_shown():
    known = with_rows(
        comparison(("teacher", "odd")), "teacher", noise=(drop("leetspeak", 0.1), drop("upper case", 0.2))
    )
    assert dearest_noise(known) == [
        "Of 2 kinds of typed noise, “upper case” costs teacher most: 20.0 points of macro-F1, 95 % interval +18.5 to "
        "+21.5."
    ]
    assert dearest_noise(with_rows(known, "teacher", noise=(drop("leetspeak", 0.01), drop("upper case", -0.2)))) == []
    assert dearest_noise(with_rows(known, "teacher", noise=())) == []


def test_calibration_is_that_of_the_model_to_ship_before_and_after_its_temperature():
    known = full(usual_runs())
    row = known.row(known.recommendation.method)
    before, after = (
        f"{one.mean:.3f} (95 % interval {one.interval.low:.3f} to {one.interval.high:.3f})"
        for one in (row.expected_calibration_error, row.calibrated_error)
    )
    (told,) = trust(known)
    assert f"is {after} after its temperature and {before} before; 0 is best" in told
    assert told.endswith("noise alone may give as much.") == (row.calibrated_error.interval.low == 0)
    bare = [replace(run("odd"), test_logits=None)]
    assert trust(compare_runs(bare)) == []
