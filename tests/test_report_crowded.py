"""What a report of very many methods leaves to the pages and to comparison.json, so that it can still be read."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from distilora.report import compare_runs, findings
from distilora.report.blocks import Block, FigureBlock, Fold, Paragraph, Table, cell_text
from distilora.report.foreground import foreground, foreground_note, is_crowded
from distilora.report.plots.style import method_colours
from distilora.report.records import Comparison
from distilora.report.sections.calibration import calibration_section
from distilora.report.sections.classes import classes_section
from distilora.report.sections.differences import differences_section
from distilora.report.sections.groups import groups_section
from distilora.report.sections.method_tables import other_methods
from distilora.report.sections.precision_recall import precision_recall_section
from distilora.report.sections.robustness import robustness_section
from distilora.report.sections.scores import scores_section
from distilora.runs import RunRecord
from report_cases import run
from section_cases import comparison as made
from section_cases import hatecheck

MANY = 16
OTHERS = tuple(f"other-{index:02}" for index in range(MANY - 4))


def runs_of(names: Sequence[str]) -> list[RunRecord]:
    """Return a run of each method, each a little worse than the one before, with TF-IDF last."""
    return [run(name, wrong=range(20 + 4 * place), rows=120) for place, name in enumerate((*names, "tfidf"))]


@pytest.fixture(scope="module")
def many() -> list[RunRecord]:
    return runs_of(("teacher", *OTHERS, "odd", "even"))


@pytest.fixture(scope="module")
def crowded(many: list[RunRecord]) -> Comparison:
    return compare_runs(many)


def words(blocks: Sequence[Block]) -> str:
    return " ".join(block.text for block in blocks if isinstance(block, Paragraph))


def test_in_the_foreground_are_ten_methods_in_their_order_with_those_that_others_are_held_against(
    crowded: Comparison,
) -> None:
    shown = [row.method for row in foreground(crowded).methods]
    assert is_crowded(crowded)
    assert len(shown) == 10
    assert {"teacher", "odd", "tfidf", crowded.best, crowded.recommended} <= set(shown)
    assert "even" not in shown
    assert shown == [row.method for row in crowded.methods if row.method in shown]
    note = foreground_note(crowded, where="the table has all")
    assert note == (
        " Of 16 methods 10 are shown (the recommended one, the teacher, odd, tfidf and the best others); the table has "
        "all."
    )


def test_of_twelve_methods_all_are_in_the_foreground_and_nothing_is_said() -> None:
    few = made(("teacher", *OTHERS[:11]))
    assert len(few.scored) == 12
    assert foreground(few) is few
    assert foreground_note(few, where="the table has all") == ""


def test_so_many_methods_are_tested_against_the_best_in_the_table_and_in_pairs_on_their_pages(
    crowded: Comparison,
) -> None:
    blocks = differences_section(crowded).blocks
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert len(table.rows) == MANY - 1
    assert table.columns[0] == "method"
    assert crowded.best in table.caption
    worst = crowded.difference("tfidf", crowded.best or "")
    assert worst is not None
    assert cell_text(table.rows[-1][1]) == f"−{abs(100 * worst.value):.1f}"
    assert "comparison.json every pair" in words(blocks)
    (fold,) = [block for block in blocks if isinstance(block, Fold)]
    (mcnemar, _) = fold.blocks
    assert isinstance(mcnemar, Table)
    assert len(mcnemar.rows) == MANY - 1
    (others,) = other_methods(crowded, "even")
    assert len(others.rows) == MANY - 1


def test_a_figure_with_a_panel_or_a_bar_for_each_method_draws_those_in_the_foreground(
    crowded: Comparison,
) -> None:
    sections = (scores_section, classes_section, calibration_section, precision_recall_section)
    drawn = {
        block.name: block for section in sections for block in section(crowded).blocks if isinstance(block, FigureBlock)
    }
    for name in ("classes", "confusion", "calibration", "precision-recall"):
        shown = set(re.findall(r">([a-z0-9-]+)(?:, threshold [\d.]+)?</text>", drawn[name].svg))
        assert "odd" in shown, name
        assert "even" not in shown, name
        assert "Of 16 methods 10 are shown" in drawn[name].caption
    assert {"even", *OTHERS} <= set(re.findall(r">([a-z0-9-]+)</text>", drawn["scores"].svg))


def test_no_two_of_thirty_methods_share_a_colour() -> None:
    colours = method_colours(made([f"m{index}" for index in range(30)]))
    assert len(set(colours.values())) == 30


def test_of_many_methods_that_differ_from_the_teacher_four_are_named(crowded: Comparison) -> None:
    (told,) = [one for one in findings(crowded) if one.startswith("Against the teacher")]
    assert len(re.findall(r"points", told)) <= 12
    assert "more, see the figure" in told
    assert any("of all 16 methods; a difference counts" in one for one in findings(crowded))


def test_of_many_methods_that_are_level_four_are_named() -> None:
    runs = [run(name, wrong=range(place, place + 20), rows=120) for place, name in enumerate(("teacher", *OTHERS))]
    crowded = compare_runs([*runs, run("tfidf", wrong=range(24), rows=120)])
    (best,) = [one for one in findings(crowded) if "No method is shown to be the best" in one]
    level = [row.method for row in crowded.contenders]
    assert len(level) > 8
    assert best.endswith(f"to {', '.join(level[:4])} and {len(level) - 4} more.")
    (tfidf,) = [one for one in findings(crowded) if "Ahead of TF-IDF" in one]
    assert re.search(r"no difference was found: (\S+ \([^)]*\); ){4}\d+ more\.", tfidf)


def test_with_many_methods_noise_has_a_line_for_each_of_them() -> None:
    blocks = robustness_section(made(("teacher", "odd", *OTHERS))).blocks
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows] == ["teacher", "odd", *OTHERS]
    assert table.columns[0] == "method"
    few = [block for block in robustness_section(made()).blocks if isinstance(block, Table)]
    assert few[0].columns[1:] == ("teacher", "odd", "even", "lora")
    assert len(table.columns) == 1 + len(few[0].rows)


def test_a_suite_tells_of_the_methods_in_the_foreground() -> None:
    names = ("teacher", "odd", *OTHERS)
    comparison = made(names).model_copy(update={"suites": (hatecheck(names, tests=4, each=10),)})
    blocks = groups_section(comparison).blocks
    assert "Of 14 methods 10 are shown" in words(blocks)
    (overall,) = [block for block in blocks if isinstance(block, Table) and "all rows" in block.caption]
    assert len(overall.rows) == 10
