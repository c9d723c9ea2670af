"""Whether the sections on costs and on the choice, the frontier and the terminal's table tell what was measured."""

import functools
import re
import xml.etree.ElementTree as ET

import pytest

from distilora.config import ReportSettings
from distilora.report import compare_runs, plots
from distilora.report.blocks import FigureBlock, Paragraph, Table
from distilora.report.plots.frontier import cost_axis, frontier
from distilora.report.sections.costs import costs_section
from distilora.report.sections.recommendation import recommendation_section
from distilora.report.terminal import score_table
from report_cases import costs_of, run, usual_evidence, usual_runs


def compared(runs=None, *, settings=None, **changes):
    """Return the comparison of runs with their costs; ``changes`` replace fields of the costs."""
    runs = usual_runs() if runs is None else runs
    evidence = usual_evidence(runs, settings=settings)
    costs = evidence.costs.model_copy(update=changes)
    return compare_runs(runs, type(evidence)(costs=costs, settings=evidence.settings))


@functools.cache
def usual():
    return compared()


def without_costs(runs=None):
    return compare_runs(usual_runs() if runs is None else runs)


def tables(section):
    return [block for block in section.blocks if isinstance(block, Table)]


def words(section):
    return " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))


def cells(table, method):
    line = next(line for line in table.rows if line[0] == method)
    return {name: getattr(cell, "text", cell) for name, cell in zip(table.columns, line, strict=True)}


def test_every_measured_cost_of_a_method_stands_in_the_tables():
    running, training = tables(costs_section(compared(usual_runs(seeds=2))))
    assert cells(running, "odd") == {
        "method": "odd",
        "measured": "int8 bundle",
        "MB to ship": "25.0",
        "ms, 16 tokens": "1.0 / 1.2",
        "ms, 64 tokens": "4.0 / 4.8",
        "ms, 128 tokens": "8.0 / 9.6",
        "texts a second": "800 (790 to 805)",
        "memory, MiB": "170",
        "load, s": "0.60",
    }
    assert cells(training, "odd") == {
        "method": "odd",
        "parameters": "17,400,000",
        "of these trained": "17,400,000",
        "weights, MB": "69.6",
        "training": "100.5 s",
        "memory in training, MiB": "910",
    }


def test_the_machine_is_described_and_a_busy_one_warned_of():
    idle, busy = (words(costs_section(compared(busy_processors=load))) for load in (0.1, 1.4))
    assert "Measured on a processor, 2 cores, of which others kept 0.1 busy just before; 2 threads a model" in idle
    assert "onnxruntime 1.31.0" in idle
    assert "The machine was busy" not in idle
    assert "The machine was busy" in busy
    assert "of which others" not in words(costs_section(compared(busy_processors=None)))


def test_bundles_and_trained_runs_beside_each_other_are_warned_of():
    comparison = usual()
    mixed = tuple(
        one.model_copy(update={"model": "run"} if one.method == "odd" else {}) for one in comparison.costs.methods
    )
    warning = "say more of that than of the methods"
    assert warning in words(costs_section(compared(methods=mixed)))
    assert warning not in words(costs_section(comparison))


def test_what_was_not_measured_is_a_dash():
    known = tuple(one for one in costs_of(usual_runs()[:1]).methods)
    running, training = tables(costs_section(compared(methods=known)))
    assert set(cells(running, "odd").values()) == {"odd", "—"}
    assert cells(training, "tfidf")["training"] == "—"
    unknown = compare_runs([run("odd", training_memory_mib=None)])
    assert cells(tables(costs_section(unknown))[0], "odd")["memory in training, MiB"] == "—"


def test_without_measured_costs_size_and_training_are_still_told():
    section = costs_section(without_costs())
    assert [table.caption for table in tables(section)] == ["To train"]
    assert "were not measured" in words(section)
    (drawn,) = (block for block in section.blocks if isinstance(block, FigureBlock))
    assert "size of the weights" in drawn.caption


def test_the_frontier_holds_the_methods_that_no_other_beats_in_both():
    runs = [
        run("teacher", wrong=range(10)),
        run("odd", wrong=range(30)),
        run("even", wrong=range(20)),
        run("lora", wrong=range(9)),
    ]
    comparison = compared(runs)
    axis = cost_axis(comparison)
    reached = frontier(comparison.candidates, axis)
    assert [row.method for row in reached] == ["even", "lora"]
    for row in comparison.candidates:
        beaten = any(
            axis.of(other) <= axis.of(row) and other.macro_f1.mean >= row.macro_f1.mean and other is not row
            for other in comparison.candidates
        )
        assert beaten == (row not in reached)


def test_the_frontier_figure_says_what_is_drawn():
    (drawn,) = (block for block in costs_section(usual()).blocks if isinstance(block, FigureBlock))
    assert "median time for one text of 64 tokens" in drawn.caption
    assert "The ring marks the recommended method" in drawn.caption
    assert re.search(r"odd 0\.\d{3} at 4\.0 ms", drawn.alternative)
    assert "odd: recommended" in drawn.svg
    partly = compared(methods=costs_of(usual_runs()[:1]).methods)
    (drawn,) = (block for block in costs_section(partly).blocks if isinstance(block, FigureBlock))
    assert "not drawn: odd and lora" in drawn.caption
    assert "frontier" not in drawn.caption


def test_a_comparison_without_costs_or_sizes_has_no_figure():
    assert plots.score_against_cost(compare_runs([run("odd", size_bytes=None)])) is None


@pytest.mark.parametrize("long", ["", "-with-a-name-that-goes-on-and-on"])
@pytest.mark.parametrize("measured", [True, False])
def test_names_in_the_frontier_never_cover_each_other(measured, long):
    methods = ["teacher", *(f"{name}{long}" for name in ("odd", "even", "first", "last", "spread", "lora", "lora-qv"))]
    runs = [run(name, good=2.0 + index / 50) for index, name in enumerate(methods)]
    svg = plots.score_against_cost(compared(runs) if measured else without_costs(runs))
    places = {}
    for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314 - written above
        if any(text.text and text.text.startswith(name[:20]) for name in methods):
            places[text.text] = (float(text.get("x")), float(text.get("y")))
    assert len(places) == len(methods)
    wide = 5.6  # About a letter of 9 points, in points.
    for name, (x, y) in places.items():
        for other, (x2, y2) in places.items():
            beside = x + wide * len(name) <= x2 or x2 + wide * len(other) <= x
            assert name == other or beside or abs(y - y2) >= 8


def test_the_choice_is_told_with_its_rule_its_costs_and_its_test_score_apart():
    comparison = compared(usual_runs(seeds=2))
    section = recommendation_section(comparison)
    told = words(section)
    assert told.startswith("Ship odd: it is the cheapest method that is not shown to be worse than teacher")
    assert "A text of 64 tokens takes it 4.0 ms. All its files have 25.0 MB." in told
    assert (
        f"On the test rows, which had no say in this, its macro-F1 is {comparison.row('odd').macro_f1.mean:.3f}" in told
    )
    assert "on the 240 validation rows" in told
    assert "With only 240 validation rows a method may be worse than teacher by as much as" in told
    assert "One seed" not in told
    (table,) = tables(section)
    assert cells(table, "odd")["verdict"] == "recommended"
    assert cells(table, "teacher")["verdict"] == "slower than odd: 8.0 ms against 4.0 ms"
    assert "shown to be worse than teacher" in cells(table, "lora")["verdict"]


def test_what_the_test_rows_show_to_be_better_is_told_beside_the_choice():
    comparison = compared(usual_runs(seeds=2))
    assert "better by more than chance" not in words(recommendation_section(comparison))
    told = words(recommendation_section(with_teacher_ahead(comparison)))
    assert (
        "no difference was found). But on the test rows, which have no say in this, teacher (+2.6 points, p = 0.004) "
        "is better by more than chance."
    ) in told
    limits = ReportSettings(max_size_mb=30)  # that the teacher breaks
    told = words(recommendation_section(with_teacher_ahead(compared(usual_runs(seeds=2), settings=limits))))
    assert told.startswith("Ship odd")
    assert "better by more than chance" not in told


def with_teacher_ahead(comparison):
    """Return the comparison with a test that shows the teacher to be better than the odd student."""
    shown = {"first": "teacher", "second": "odd", "value": 0.026, "low": 0.011, "high": 0.041, "p_holm": 0.004}
    pairs = tuple(
        pair.model_copy(update=shown) if {pair.first, pair.second} == {"teacher", "odd"} else pair
        for pair in comparison.pairs
    )
    return comparison.model_copy(update={"pairs": pairs})


def test_one_seed_is_warned_of():
    assert "another seed may change this choice" in words(recommendation_section(usual()))


def test_a_plain_baseline_that_scores_no_less_is_told():
    runs = [run("odd", good=0.4), run("tfidf", good=2.0)]
    assert "it may be all that is needed" in words(recommendation_section(compared(runs)))
    assert "it may be all that is needed" not in words(recommendation_section(usual()))


def test_none_within_the_limits_says_what_each_breaks_and_what_would_fit():
    tight = ReportSettings(max_size_mb=20, max_latency_ms=9)
    section = recommendation_section(compared(settings=tight))
    told = words(section)
    assert told.startswith("No method keeps to all limits, so none is recommended. odd comes nearest")
    assert "it would fit with --max-size-mb 25 and --max-latency-ms 9.6." in told
    assert "at most 20 MB to ship and at most 9 ms" in told
    (table,) = tables(section)
    assert cells(table, "teacher")["verdict"] == (
        "too large: 37.5 MB for a limit of 20 MB; too slow: 19.2 ms for a limit of 9 ms"
    )
    fits = ReportSettings(max_size_mb=25, max_latency_ms=9.6)
    assert words(recommendation_section(compared(settings=fits))).startswith("Ship odd: it has the best macro-F1")
    unmeasured = compare_runs(usual_runs(), type(usual_evidence())(settings=tight))
    assert "was not measured for any of them" in words(recommendation_section(unmeasured))


def test_a_limit_on_recall_is_told_with_each_recall():
    section = recommendation_section(compared(settings=ReportSettings(min_recall=1.0)))
    (table,) = tables(section)
    recall = usual().row("odd").positive.validation_recall.mean
    assert cells(table, "odd")["verdict"] == f"recall too low: {recall:.3f} for a limit of 1"
    assert "--min-recall" in words(section)


def test_the_terminal_table_marks_the_choice_and_fits_100_columns():
    runs = [*usual_runs(), run("odd-with-a-name-that-goes-on-and-on-and-on-and-on")]
    table = score_table(compared(runs))
    lines = table.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert [line.split()[0] for line in lines if " * " in line] == ["odd"]
    assert "* recommended, chosen on validation rows alone" in lines
    (odd,) = (line for line in lines if line.startswith("odd *"))
    assert odd.split()[-4:] == ["4.0", "25.0", "100.0", "s"]


def test_the_terminal_table_leaves_out_what_nobody_measured():
    header, *lines = score_table(without_costs()).splitlines()
    assert header.split()[-3:] == ["accuracy", "MB", "training"]
    assert any(line.startswith("even") and "void" in line for line in lines)
