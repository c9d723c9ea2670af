"""Whether the recommended method is the one that the stated rule picks, on validation rows alone."""

import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from statsmodels.stats.multitest import multipletests

from distilora.errors import ConfigError, RunError
from distilora.evaluation.costs import ExperimentCosts, LatencyAt, MethodCosts
from distilora.evaluation.significance import compare_methods, compare_with
from distilora.report.comparing.answers import gathered
from distilora.report.comparing.recommendation import broken_limits, equally_cheap, recommend
from distilora.report.records import Considered, Limits, MethodRow, Score, ThresholdScores
from report_cases import kind_of, run

ROWS = 160
LABELS = np.random.default_rng(5).integers(0, 3, ROWS)
NO_LIMITS = Limits()


def trained(method, wrong, *, seed=0, **changes):
    """Return a run that is right on all validation rows but ``wrong``."""
    said = LABELS.copy()
    said[list(wrong)] = (said[list(wrong)] + 1) % 3
    logits = (4.0 * np.eye(3)[said]).astype(np.float32)
    return replace(run(method, seed=seed), validation_labels=LABELS, validation_logits=logits, **changes)


def row(method, **changes):
    recall = changes.pop("recall", None)
    none = Score(mean=0.5)
    positive = recall and ThresholdScores(
        goal="f1", threshold=none, precision=none, recall=none, f1=none, validation_recall=Score(mean=recall)
    )
    known = {"kind": kind_of(method), "seeds": (0,), "macro_f1": Score(mean=0.5), "size_bytes": 70_000_000}
    return MethodRow(method=method, positive=positive, **(known | changes))


def measured(method, ms, mb):
    return MethodCosts(
        method=method,
        seed=0,
        model="bundle",
        precision="int8",
        sha256="c" * 64,
        size_bytes=round(mb * 1e6),
        latency=tuple(
            LatencyAt(tokens=tokens, times=60, p50_ms=ms * share, p95_ms=1.5 * ms * share)
            for tokens, share in ((16, 0.5), (64, 1.0), (128, 2.0))
        ),
        texts_per_s=1000 / ms,
        texts_per_s_low=900 / ms,
        texts_per_s_high=1100 / ms,
        memory_peak_mib=130,
        load_seconds=0.5,
    )


def costs_of(**methods):
    """Return costs from the milliseconds and megabytes of each method."""
    return ExperimentCosts(
        methods=tuple(measured(name.replace("_", "-"), *cost) for name, cost in methods.items()),
        texts=ROWS,
        rounds=3,
        threads=2,
        processor="a processor",
        cores=2,
        busy_processors=0.1,
        versions={"onnxruntime": "1.0"},
    )


def answers_of(runs):
    """Return the answers of methods by their runs."""
    return {method: gathered(method, several) for method, several in runs.items()}


def choose(wrong, *, costs=None, limits=NO_LIMITS, **rows):
    answers = answers_of({method: [trained(method, which)] for method, which in wrong.items()})
    return recommend([row(method, **rows.get(method, {})) for method in wrong], answers, costs=costs, limits=limits)


def told(found):
    return {one.method: one.failing for one in found.considered}


def test_the_cheapest_method_that_is_not_shown_to_be_worse_is_chosen():
    found = choose(
        {"teacher": range(20), "odd": range(1, 22), "even": range(80), "lora": range(2, 23)},
        costs=costs_of(teacher=(6, 24), odd=(3, 19), even=(1, 5), lora=(6.2, 24)),
    )
    assert (found.method, found.best, found.rule, found.rows) == ("odd", "teacher", "cheapest", ROWS)
    assert told(found) == {"teacher": "dearer", "odd": None, "lora": "dearer", "even": "worse"}


def test_every_method_worse_than_the_best_leaves_the_best():
    found = choose({"teacher": range(5), "odd": range(70)}, costs=costs_of(teacher=(9, 90), odd=(1, 1)))
    assert (found.method, told(found)["odd"]) == ("teacher", "worse")


def test_times_within_a_tenth_are_equal_so_that_size_decides():
    wrong = {"odd": range(20), "even": range(20), "lora": range(20)}
    found = choose(wrong, costs=costs_of(odd=(3.0, 22), even=(3.29, 19), lora=(3.31, 10)))
    assert found.method == "even"
    assert told(found) == {"odd": "dearer", "even": None, "lora": "dearer"}


def test_at_equal_cost_the_better_on_validation_is_chosen_then_the_first_name():
    costs = costs_of(odd=(3.0, 19.0), even=(3.1, 19.2))
    found = choose({"odd": range(21), "even": range(20)}, costs=costs)
    assert (found.method, told(found)["odd"]) == ("even", "lower")
    assert choose({"odd": range(20), "even": range(20)}, costs=costs).method == "even"


def test_without_the_time_of_every_rival_size_decides():
    wrong = {"teacher": range(20), "odd": range(20)}
    assert choose(wrong, costs=costs_of(teacher=(1.0, 24))).method == "teacher"
    sizes = {"teacher": {"size_bytes": 90_000_000}, "odd": {"size_bytes": 70_000_000}}
    found = choose(wrong, **sizes)
    assert (found.method, [one.latency_ms for one in found.considered]) == ("odd", [None, None])


def test_with_limits_the_best_that_keeps_to_all_of_them_is_chosen():
    wrong = {"teacher": range(10), "odd": range(20), "even": range(25), "lora": range(12)}
    costs = costs_of(teacher=(6, 24), odd=(3, 19), even=(2, 12), lora=(6, 18))
    found = choose(wrong, costs=costs, limits=Limits(max_size_mb=20, max_latency_ms=10))
    assert (found.method, found.rule, found.best) == ("odd", "limits", "teacher")
    assert told(found) == {"teacher": "size", "odd": None, "even": "lower", "lora": "latency"}


def test_what_was_not_measured_keeps_to_no_limit():
    wrong = {"teacher": range(10), "odd": range(20)}
    assert choose(wrong, limits=Limits(max_size_mb=1000)).method is None
    found = choose(wrong, costs=costs_of(odd=(3, 19)), limits=Limits(max_size_mb=1000))
    assert (found.method, told(found)["teacher"]) == ("odd", "size")
    assert choose(wrong, limits=Limits(max_latency_ms=1000)).method is None
    assert choose(wrong, limits=Limits(min_recall=0.1)).method is None


def test_recall_is_that_of_the_positive_classes_on_validation():
    found = choose(
        {"teacher": range(10), "odd": range(20)},
        limits=Limits(min_recall=0.8),
        teacher={"recall": 0.79},
        odd={"recall": 0.8},
    )
    assert (found.method, told(found)["teacher"]) == ("odd", "recall")


def test_a_limit_on_recall_without_positive_classes_is_one_clear_line():
    record = trained("odd", range(9))
    data = record.result.data.model_copy(update={"positive": ()})
    nameless = replace(record, result=record.result.model_copy(update={"data": data}))
    with pytest.raises(ConfigError, match=r"data\.positive names none: name one or several of hate speech, offensive"):
        recommend([row("odd")], answers_of({"odd": [nameless]}), costs=None, limits=Limits(min_recall=0.5))


def test_none_within_the_limits_is_no_recommendation_but_all_are_told():
    found = choose(
        {"teacher": range(10), "odd": range(9)},
        costs=costs_of(teacher=(6, 24), odd=(3, 19)),
        limits=Limits(max_size_mb=10),
    )
    assert found.method is None
    assert told(found) == {"odd": "size", "teacher": "size"}


def test_baselines_void_methods_and_those_without_kept_validation_are_not_considered():
    methods = ["tfidf", "odd", "even", "lora"]
    runs = {method: [trained(method, range(9))] for method in methods}
    runs["lora"] = [trained("lora", range(9)), replace(run("lora", seed=1), validation_logits=None)]
    rows = [row("tfidf"), row("odd"), row("even", macro_f1=None), row("lora")]
    answers = answers_of(runs)
    found = recommend(rows, answers, costs=None, limits=NO_LIMITS)
    assert [one.method for one in found.considered] == ["odd"]
    assert recommend([row("tfidf")], answers, costs=None, limits=NO_LIMITS) is None
    assert recommend([], {}, costs=None, limits=Limits(min_recall=0.5)) is None


def test_other_validation_rows_are_refused():
    other = replace(trained("odd", range(9)), validation_labels=(LABELS + 1) % 3)
    with pytest.raises(RunError, match="teacher and odd hold different validation labels"):
        recommend(
            [row("teacher"), row("odd")],
            answers_of({"teacher": [trained("teacher", range(9))], "odd": [other]}),
            costs=None,
            limits=NO_LIMITS,
        )
    answers = answers_of({"odd": [trained("odd", range(9), seed=1), other]})
    with pytest.raises(RunError, match="odd: its seeds hold different validation labels"):
        recommend([row("odd")], answers, costs=None, limits=NO_LIMITS)


def test_scores_are_those_of_scikit_learn_and_p_is_corrected_as_in_statsmodels():
    wrong = {"teacher": [range(20), range(10, 32)], "odd": [range(5, 35), range(25)], "lora": [range(40), range(3, 50)]}
    runs = {name: [trained(name, which, seed=seed) for seed, which in enumerate(two)] for name, two in wrong.items()}
    found = recommend([row(name) for name in runs], answers_of(runs), costs=None, limits=NO_LIMITS)
    said = {name: np.stack([one.validation_logits.argmax(axis=1) for one in two]) for name, two in runs.items()}
    for one in found.considered:
        each = [f1_score(LABELS, predicted, average="macro") for predicted in said[one.method]]
        assert one.macro_f1.mean == pytest.approx(statistics.fmean(each), abs=1e-6)
        assert one.macro_f1.sd == pytest.approx(statistics.stdev(each), abs=1e-6)
    tests = [
        compare_methods(LABELS, {n: said[n] for n in (other, found.best)}, classes=3)[0]
        for other in runs
        if other != found.best
    ]
    corrected = dict(zip((t.first for t in tests), multipletests([t.p for t in tests], method="holm")[1], strict=True))
    for one in found.considered:
        if one.to_best is not None:
            assert one.to_best.p_holm == pytest.approx(corrected[one.method], abs=1e-6)
            best = next(other.macro_f1.mean for other in found.considered if other.method == found.best)
            assert one.to_best.value == pytest.approx(one.macro_f1.mean - best, abs=1e-6)


def test_methods_held_against_one_are_tested_as_pairs_are():
    methods = {
        name: np.where(np.arange(ROWS) < wrong, 0, LABELS)[None] for name, wrong in (("a", 5), ("b", 30), ("c", 60))
    }
    pairs = {(one.first, one.second): one for one in compare_methods(LABELS, methods, classes=3)}
    held = compare_with(LABELS, methods, reference="c", classes=3)
    assert [(one.first, one.second) for one in held] == [("a", "c"), ("b", "c")]
    for one in held:
        assert one.model_dump(exclude={"p_holm", "mcnemar"}) == pairs[one.first, "c"].model_dump(
            exclude={"p_holm", "mcnemar"}
        )
        assert one.p_holm <= pairs[one.first, "c"].p_holm
    assert compare_with(LABELS, {"a": methods["a"]}, reference="a", classes=3) == ()


METHODS = ("teacher", "odd", "even", "lora")
COST = st.one_of(st.none(), st.tuples(st.integers(10, 60), st.integers(5, 40)))
CASES = st.lists(
    st.tuples(st.integers(0, 90), st.integers(0, 20), COST, st.one_of(st.none(), st.integers(1, 10))),
    min_size=1,
    max_size=4,
)
LIMITS = st.builds(
    Limits,
    max_size_mb=st.one_of(st.none(), st.integers(5, 40)),
    max_latency_ms=st.one_of(st.none(), st.integers(2, 20)),
    min_recall=st.one_of(st.none(), st.integers(1, 10).map(lambda tenth: tenth / 10)),
)


@settings(max_examples=20, deadline=None)
@given(CASES, st.one_of(st.just(NO_LIMITS), LIMITS), st.randoms(use_true_random=False))
def test_the_choice_keeps_its_promises_whatever_was_measured(cases, limits, random):
    runs, rows, known = {}, [], {}
    for method, (wrong, start, cost, recall) in zip(METHODS, cases, strict=False):
        runs[method] = [trained(method, range(start, start + wrong))]
        rows.append(row(method, recall=recall and recall / 10))
        if cost is not None:
            known[method] = (cost[0] / 10, cost[1])
    costs = costs_of(**known) if known else None
    found = recommend(rows, answers_of(runs), costs=costs, limits=limits)
    considered = {one.method: one for one in found.considered}
    chosen = considered.get(found.method)
    keeping = [one for one in found.considered if not broken_limits(one, limits, costs)]

    assert [one.method for one in found.considered if one.failing is None] == ([found.method] if chosen else [])
    if limits.any:
        assert (chosen in keeping) if keeping else chosen is None
        assert all(one.macro_f1.mean <= chosen.macro_f1.mean for one in keeping)
    else:
        level = [one for one in found.considered if not (one.to_best and one.to_best.p_holm < 0.05)]
        assert chosen in level
        if all(one.latency_ms is not None for one in level):
            assert not any(1.1 * one.latency_ms < chosen.latency_ms for one in level)
        else:
            assert not any(1.02 * one.size_mb < chosen.size_mb for one in level)

    shuffled = random.sample(rows, len(rows))
    runs_shuffled = {one.method: runs[one.method] for one in shuffled}
    assert recommend(shuffled, answers_of(runs_shuffled), costs=costs, limits=limits) == found

    blind = {
        name: [replace(r, test_logits=None, test_labels=None, test_predictions=None) for r in several]
        for name, several in runs.items()
    }
    other_tests = [one.model_copy(update={"macro_f1": Score(mean=random.random())}) for one in rows]
    assert recommend(other_tests, answers_of(blind), costs=costs, limits=limits) == found


@given(st.lists(st.tuples(st.floats(1, 50), st.floats(1, 100)), min_size=1, max_size=6))
def test_no_method_is_both_faster_and_smaller_beyond_noise_than_the_cheap_ones(costs):
    ones = [
        Considered(
            method=str(index),
            macro_f1=Score(mean=0.5),
            to_best=None,
            latency_ms=ms,
            size_mb=mb,
            slow_latency_ms=None,
            recall=None,
            failing=None,
        )
        for index, (ms, mb) in enumerate(costs)
    ]
    cheap = equally_cheap(ones)
    assert cheap
    for one in cheap:
        assert not any(other.latency_ms * 1.1 < one.latency_ms for other in ones)
        assert not any(
            other.latency_ms < one.latency_ms and other.size_mb * 1.02 < one.size_mb
            for other in ones
            if other.latency_ms <= 1.1 * min(each.latency_ms for each in ones)
        )
