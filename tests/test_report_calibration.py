"""What a report says about probabilities and thresholds, against scipy and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_fscore_support

from distilora.evaluation.calibration import BINS, Calibration, ReliabilityBin, measure_calibration
from distilora.evaluation.records import Interval
from distilora.report import compare_runs, plots
from distilora.report.blocks import Bullets, FigureBlock, Paragraph, Section, Table
from distilora.report.evidence import Evidence
from distilora.report.plots.calibration import merged_bins
from distilora.report.plots.precision_recall import drawn_classes
from distilora.report.records import Comparison, Score
from distilora.report.sections.calibration import calibration_section
from distilora.report.sections.precision_recall import precision_recall_section
from distilora.runs import RunRecord
from report_cases import NAMES, run

METHODS = {"teacher": 2.4, "odd": 2.2, "even": 2.1, "lora": 1.9}
T = TypeVar("T")


def known(value: T | None) -> T:
    assert value is not None
    return value


def probable_run(
    method: str,
    *,
    sureness: float = 1.0,
    positive: bool = True,
    seed: int = 0,
    names: tuple[str, ...] = NAMES,
    constant: bool = False,
) -> RunRecord:
    """Return a run with logits of other rows to fit a temperature to; ``sureness`` multiplies all of them."""
    good = METHODS.get(method, 1.5)
    record = run(method, good=good, seed=seed, names=names, constant=constant)
    labels = np.random.default_rng(3).permutation(known(record.test_labels))
    logits = 1.2 * np.random.default_rng([seed, len(method)]).normal(size=(len(labels), len(names)))
    logits[np.arange(len(labels)), labels] += good
    data = record.result.data if positive else record.result.data.model_copy(update={"positive": ()})
    return replace(
        record,
        result=record.result.model_copy(update={"data": data}),
        test_logits=np.asarray(known(record.test_logits) * sureness, dtype=np.float32),
        validation_logits=np.asarray(logits * sureness, dtype=np.float32),
        validation_labels=labels,
    )


def probable_runs(
    *, seeds: int = 1, sureness: float = 1.0, positive: bool = True, names: tuple[str, ...] = NAMES
) -> list[RunRecord]:
    return [
        probable_run(method, seed=seed, sureness=sureness, positive=positive, names=names)
        for method in METHODS
        for seed in range(seeds)
    ]


def only_table(section: Section) -> Table:
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    return table


def cells(section: Section, method: str) -> dict[str, str]:
    table = only_table(section)
    (row,) = [row for row in table.rows if row[0] == method]
    return dict(zip(table.columns, map(str, row), strict=True))


def sentences(section: Section) -> str:
    return "\n".join(item for block in section.blocks if isinstance(block, Bullets) for item in block.items)


def notes(section: Section) -> str:
    return "\n".join(block.text for block in section.blocks if isinstance(block, Paragraph))


def caption(section: Section) -> str:
    (figure,) = [block for block in section.blocks if isinstance(block, FigureBlock)]
    return figure.caption


def with_row(comparison: Comparison, method: str, **changes: object) -> Comparison:
    rows = [row.model_copy(update=changes) if row.method == method else row for row in comparison.methods]
    return comparison.model_copy(update={"methods": tuple(rows)})


def score(mean: float, low: float, high: float) -> Score:
    return Score(mean=mean, interval=Interval(low=low, high=high))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare_runs(probable_runs(sureness=3.0))


# --- calibration ----------------------------------------------------------------------------------------------------


def test_the_table_holds_what_scipy_and_scikit_learn_find_before_and_after_the_temperature(
    comparison: Comparison,
) -> None:
    record = probable_run("odd", sureness=3.0)
    logits, validation = known(record.test_logits).astype(float), known(record.validation_logits).astype(float)
    rows = np.arange(len(validation))
    fitted = minimize_scalar(
        lambda t: -log_softmax(validation / t, axis=1)[rows, record.validation_labels].mean(),
        bounds=(0.05, 20),
        method="bounded",
        options={"xatol": 1e-10},
    ).x
    shown = cells(calibration_section(comparison), "odd")
    assert shown["temperature"] == f"{fitted:.2f}"
    row = known(comparison.row("odd"))
    for name, heat, found in (("before", 1.0, row.calibration[0]), ("after", fitted, row.calibrated[0])):
        shares = softmax(logits / heat, axis=1)
        right = shares.argmax(axis=1) == record.test_labels
        often, sure = calibration_curve(right, shares.max(axis=1), n_bins=BINS, strategy="quantile")
        error = np.abs(often - sure).mean()  # every bin holds 16 rows
        brier = brier_score_loss(record.test_labels, shares, labels=[0, 1, 2], scale_by_half=False)
        assert found.expected_calibration_error == pytest.approx(error, abs=1e-6)
        assert found.brier_score == pytest.approx(brier, abs=1e-6)
        assert shown[f"calibration error {name}"].startswith(f"{error:.3f} (")
        assert shown[f"Brier score {name}"].startswith(f"{brier:.3f} (")


def test_every_seed_s_temperature_is_shown() -> None:
    found = compare_runs(probable_runs(seeds=2))
    row = known(found.row("lora"))
    first, second = (one.temperature for one in row.calibrated)
    section = calibration_section(found)
    assert cells(section, "lora")["temperature"] == f"{first:.2f}, {second:.2f}"
    assert "each seed has its own temperature" in notes(section)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.0, 0.05), "probabilities of odd can be taken at face value"),
        ((0.02, 0.04), "probabilities of odd can be taken at face value"),
        ((0.051, 0.09), "probabilities of odd (0.051 to 0.090) should not be taken at face value"),
        ((0.0, 0.12), "Whether the probabilities of odd (0.120) can be taken at face value is open"),
    ],
)
def test_only_an_interval_that_ends_low_lets_probabilities_be_taken_at_face_value(
    comparison: Comparison, interval: tuple[float, float], words: str
) -> None:
    only = comparison.model_copy(update={"methods": tuple(row for row in comparison.methods if row.method == "odd")})
    told = sentences(calibration_section(with_row(only, "odd", calibrated_error=score(interval[1], *interval))))
    assert words in told
    assert told.count("at face value") == 1


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ((0.01, 0.05), "lowered the calibration error of odd"),
        ((0.20, 0.30), "raised the calibration error of odd"),
        ((0.01, 0.07), "For odd the intervals before and after the temperature overlap: no change was found."),
    ],
)
def test_the_temperature_is_said_to_help_only_where_intervals_lie_apart(
    comparison: Comparison, after: tuple[float, float], words: str
) -> None:
    only = comparison.model_copy(update={"methods": tuple(row for row in comparison.methods if row.method == "odd")})
    changed = with_row(
        only, "odd", expected_calibration_error=score(0.1, 0.06, 0.14), calibrated_error=score(after[1], *after)
    )
    assert words in sentences(calibration_section(changed))


def test_the_diagram_tells_before_from_after_by_dash_and_mark(comparison: Comparison) -> None:
    svg, row = known(plots.reliability_diagrams(comparison)), known(comparison.row("odd"))
    before, after = known(row.expected_calibration_error), known(row.calibrated_error)
    assert f"error {before.mean:.3f} → {after.mean:.3f}" in svg
    for words in ("before the temperature", "after it", "stroke-dasharray"):
        assert words in svg
    assert svg == plots.reliability_diagrams(comparison)


def test_without_validation_logits_there_is_no_after() -> None:
    found = compare_runs([replace(one, validation_logits=None) for one in probable_runs()])
    section = calibration_section(found)
    shown = cells(section, "odd")
    assert shown["temperature"] == shown["calibration error after"] == shown["Brier score after"] == "—"
    assert "The temperature" not in sentences(section)
    svg = known(plots.reliability_diagrams(found))
    assert "as trained" in svg
    assert "after it" not in svg


def test_without_logits_there_is_no_section() -> None:
    bare = [replace(one, test_logits=None) for one in probable_runs()]
    assert calibration_section(compare_runs(bare)).blocks == ()
    assert precision_recall_section(compare_runs(bare)).blocks == ()
    assert plots.precision_recall_curves(compare_runs(bare)) is None


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 50), st.floats(0.3, 1), st.floats(0, 1)), min_size=1, max_size=15),
        min_size=1,
        max_size=4,
    )
)
def test_merging_bins_keeps_rows_and_means(seeds: list[list[tuple[int, float, float]]]) -> None:
    bins = [
        tuple(
            ReliabilityBin(rows=n, confidence=sure, accuracy=often, interval=Interval(low=0, high=1))
            for n, sure, often in sorted(one, key=lambda part: part[1])
        )
        for one in seeds
    ]
    merged = merged_bins(
        [Calibration(temperature=1, expected_calibration_error=0, brier_score=0, bins=one) for one in bins]
    )
    every = np.array([part for one in seeds for part in one])
    weights = [part.rows for part in merged]
    assert len(merged) == max(map(len, seeds))
    assert sum(weights) == every[:, 0].sum()
    for place, of in ((1, "confidence"), (2, "accuracy")):
        expected = np.average(every[:, place], weights=every[:, 0])
        assert np.average([getattr(part, of) for part in merged], weights=weights) == pytest.approx(expected, abs=1e-9)
    assert np.all(np.diff([part.confidence for part in merged]) > -1e-12)


def test_one_seed_s_bins_are_drawn_as_they_are() -> None:
    logits = np.random.default_rng(0).normal(size=(300, 3)) * 2
    measured = measure_calibration(logits, np.random.default_rng(1).integers(3, size=300))
    for merged, own in zip(merged_bins([measured]), measured.bins, strict=True):
        assert merged.model_dump(exclude={"interval"}) == pytest.approx(own.model_dump(exclude={"interval"}))
        assert (merged.interval.low, merged.interval.high) == pytest.approx((own.interval.low, own.interval.high))


# --- precision and recall -------------------------------------------------------------------------------------------


def test_average_precision_and_scores_at_the_threshold_are_scikit_learn_s(comparison: Comparison) -> None:
    record, row = probable_run("even", sureness=3.0), known(comparison.row("even"))
    threshold = known(row.positive).threshold.mean
    shares = softmax(known(record.test_logits).astype(float) / row.calibrated[0].temperature, axis=1)[:, 0]
    truth = record.test_labels == 0
    expected = average_precision_score(truth, shares)
    assert row.precision_recall["positive"].average_precision == pytest.approx(expected, abs=1e-6)
    called = shares >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(truth, called, average="binary")
    shown = cells(precision_recall_section(comparison), "even")
    assert shown["average precision"] == f"{expected:.3f}"
    assert shown["threshold"] == f"{threshold:.3f}"
    for name, value in (("precision", precision), ("recall", recall), ("F1", f1)):
        assert shown[name].startswith(f"{value:.3f} (")


def test_the_figure_marks_the_threshold_and_chance(comparison: Comparison) -> None:
    svg = known(plots.precision_recall_curves(comparison))
    curve = known(comparison.row("teacher")).precision_recall["positive"]
    assert f"teacher, threshold {known(curve.chosen).threshold:.3f}" in svg
    assert f"chance {curve.positive_share:.2f}" in svg
    assert svg == plots.precision_recall_curves(comparison)


def test_the_best_method_s_threshold_is_told_in_words(comparison: Comparison) -> None:
    row = known(comparison.row(comparison.recommendation.method if comparison.recommendation else comparison.best))
    told = sentences(precision_recall_section(comparison))
    assert f"At its threshold, {row.method} finds {100 * known(row.positive).recall.mean:.1f} %" in told
    assert "that are hate speech;" in told


@pytest.mark.parametrize(
    ("goal", "words", "high", "is_missed"),
    [
        ("recall=0.9", "a recall of at least 0.9", 0.89, True),
        ("recall=0.9", "a recall of at least 0.9", 0.91, False),
        ("f1", "the best F1", 0.5, False),
    ],
)
def test_a_goal_is_said_to_be_missed_only_where_the_whole_interval_lies_below(
    comparison: Comparison, goal: str, words: str, high: float, is_missed: bool
) -> None:
    scores = known(known(comparison.row("lora")).positive)
    reached = scores.model_copy(update={"goal": goal, "recall": score(high - 0.05, high - 0.1, high)})
    told = sentences(precision_recall_section(with_row(comparison, "lora", positive=reached)))
    assert (f"for {words} on validation rows; on test rows less was reached by lora" in told) is is_missed


def test_a_goal_out_of_reach_leaves_dashes_and_curves_without_marks() -> None:
    runs = [replace(one, validation_logits=np.zeros_like(known(one.validation_logits))) for one in probable_runs()]
    found = compare_runs(runs, Evidence(goal="precision=0.99"))
    section = precision_recall_section(found)
    assert cells(section, "odd")["recall"] == cells(section, "odd")["threshold"] == "—"
    assert cells(section, "odd")["average precision"] != "—"
    assert "no threshold reaches the goal" in notes(section)
    assert "threshold" not in known(plots.precision_recall_curves(found))


def test_without_positive_classes_each_class_has_a_panel_and_a_column() -> None:
    found = compare_runs(probable_runs(positive=False))
    svg, section = known(plots.precision_recall_curves(found)), precision_recall_section(found)
    record, row = probable_run("odd"), known(found.row("odd"))
    shares = softmax(known(record.test_logits).astype(float) / row.calibrated[0].temperature, axis=1)
    shown = cells(section, "odd")
    for code, name in enumerate(NAMES):
        assert f">{name}<" in svg
        truth = np.equal(known(record.test_labels), code)
        assert row.precision_recall[name].average_precision == pytest.approx(
            average_precision_score(truth, shares[:, code]), abs=1e-6
        )
        assert shown[f"{name} (chance {truth.mean():.3f})"] == f"{row.precision_recall[name].average_precision:.3f}"


def test_of_eight_classes_the_six_rarest_are_drawn_and_all_are_in_the_table() -> None:
    names = tuple(f"class {letter}" for letter in "abcdefgh")
    found = compare_runs(probable_runs(positive=False, names=names)[:1])
    rarest = sorted(names, key=lambda name: (found.class_support[name], name))
    assert drawn_classes(found) == tuple(rarest[:6])
    section = precision_recall_section(found)
    assert "The rarest 6 classes are drawn; 2 more are in the table." in caption(section)
    assert len(only_table(section).columns) == 9


def test_a_class_called_positive_is_one_class_among_others() -> None:
    found = compare_runs(probable_runs(positive=False, names=("negative", "positive"))[:1])
    assert set(drawn_classes(found)) == {"negative", "positive"}
    assert len(only_table(precision_recall_section(found)).columns) == 3


def test_the_majority_class_has_no_curve_of_its_own() -> None:
    found = compare_runs([probable_run("teacher"), probable_run("majority", constant=True)])
    assert known(found.row("majority")).precision_recall
    assert "majority" not in known(plots.precision_recall_curves(found))


def test_foreign_names_are_drawn_without_markup() -> None:
    found = compare_runs(probable_runs(positive=False, names=("<b>$x^2$</b>", "ненависть", "憎しみ"))[:1])
    svg = known(plots.precision_recall_curves(found))
    assert "<b>" not in svg
    for name in ("&lt;b&gt;$x^2$&lt;/b&gt;", "ненависть", "憎しみ"):
        assert name in svg
