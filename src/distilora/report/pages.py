"""A page for each method that is no baseline: everything on it that the report of all methods has no room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distilora.layout import REPORT_FILE
from distilora.report import plots
from distilora.report.blocks import Block, Card, Document, FigureBlock, Fold, Inner, Section, Table, figure
from distilora.report.comparing.costs import TIMED_TOKENS
from distilora.report.making import making_of_method, what_it_is
from distilora.report.records import Comparison, MethodRow
from distilora.report.sections.adapting import adapting_section, events_section
from distilora.report.sections.calibration import calibration_section
from distilora.report.sections.cells import method_pages, shown_mean, shown_verdict
from distilora.report.sections.errors import method_errors_section
from distilora.report.sections.groups import groups_section
from distilora.report.sections.method_tables import (
    class_scores,
    making_of,
    measured_costs,
    other_methods,
    scores_by_seed,
    settings_table,
)
from distilora.report.sections.provenance import void_section
from distilora.report.sections.robustness import robustness_section
from distilora.report.sections.training import training_section
from distilora.report.wording import number, points, points_span, printable, span
from distilora.runs import RunRecord


def method_documents(comparison: Comparison, records: Sequence[RunRecord]) -> dict[str, Document]:
    """Return the page of each method that is no baseline, by method.

    No two figures of all these pages and of the report itself share a name.

    Args:
        comparison: the numbers.
        records: the runs it was made of, for scores of single seeds, settings and curves.
    """
    pages = method_pages(comparison)
    rows = [row for row in comparison.methods if printable(row.method) in pages]
    return {row.method: _document(comparison, records, row) for row in rows}


def _document(comparison: Comparison, records: Sequence[RunRecord], row: MethodRow) -> Document:
    others = {name: path for name, path in method_pages(comparison).items() if name != row.method}
    sections = (section for section in _sections(comparison, records, row) if section.blocks)
    return Document(
        title=row.method,
        lead=_lead(comparison, records, row),
        sections=tuple(_with_own_figures(section, row.method) for section in sections),
        around=(("All methods", f"../{REPORT_FILE}"), *((name, f"../{path}") for name, path in others.items())),
    )


def _sections(comparison: Comparison, records: Sequence[RunRecord], row: MethodRow) -> tuple[Section, ...]:
    alone = _alone(comparison, row)
    costs = comparison.costs_of(row.method)
    settings = tuple(Fold("All settings", (table,)) for table in settings_table(records, row.method))
    return (
        Section("summary", "In short", _summary(comparison, row)),
        Section("scores", "Scores, seed by seed", scores_by_seed(row)),
        Section("differences", "Against the other methods", other_methods(comparison, row.method)),
        Section("classes", "Each class", (*class_scores(row, comparison.class_support), *_confusion(alone))),
        _if_told(groups_section(alone)),
        calibration_section(alone),
        Section("costs", "What does it cost?", measured_costs(row, costs)),
        _if_told(robustness_section(alone)),
        method_errors_section(comparison, row),
        training_section(comparison, records, row.method),
        adapting_section(comparison, records, row),
        events_section(row),
        Section("method", "How it was made", (making_of(comparison, records, row.method), *settings)),
        void_section(alone),
    )


def _alone(comparison: Comparison, row: MethodRow) -> Comparison:
    """Return the comparison of this method alone; the family stays, for its colours, and the teacher in suites."""
    suites = (
        suite.model_copy(
            update={"models": tuple(one for i, one in enumerate(suite.models) if i == 0 or one.path == row.method)}
        )
        for suite in comparison.suites
        if any(one.path == row.method for one in suite.models)
    )
    update = {
        "methods": (row,),
        "pairs": (),
        "recommendation": None,
        "costs": None,
        "label_errors": None,
        "layers": (),
        "suites": tuple(suites),
    }
    return comparison.model_copy(update=update)


def _lead(comparison: Comparison, records: Sequence[RunRecord], row: MethodRow) -> str:
    words = what_it_is(making_of_method(comparison, records, row))
    return f"{words[0].upper()}{words[1:]}."


def _summary(comparison: Comparison, row: MethodRow) -> tuple[Block, ...]:
    if row.macro_f1 is None:
        return (Card("macro-F1 on the test rows", "void", "No run of this method has a score; the reasons are below."),)
    interval = f"95 % interval {span(row.macro_f1.interval)}. " if row.macro_f1.interval else ""
    costs = comparison.costs_of(row.method)
    usual = costs.latency_at(TIMED_TOKENS) if costs else None
    facts = [
        ("accuracy", shown_mean(row.accuracy)),
        ("seeds", str(len(row.seeds))),
        *([("weights", f"{number(row.size_mb, 1)} MB")] if row.size_mb is not None else []),
        *([("shipped", f"{number(costs.size_mb, 1)} MB")] if costs else []),
        *([(f"one text of {TIMED_TOKENS} tokens", f"{number(usual.p50_ms, 1)} ms")] if usual else []),
    ]
    text = f"{interval}{_against_teacher(row)}"
    return (Card("macro-F1 on the test rows", shown_mean(row.macro_f1), text, tuple(facts)),)


def _against_teacher(row: MethodRow) -> str:
    difference = row.to_teacher
    if difference is None:
        return ""
    apart = f"{points(difference.value)} points against {printable(difference.other)}"
    if difference.interval is None:
        return f"{apart}; without kept predictions that shows nothing."
    return f"{apart} ({points_span(difference.interval)}): {shown_verdict(difference)}."


def _confusion(alone: Comparison) -> tuple[FigureBlock, ...]:
    return figure(
        "confusion",
        plots.confusion_matrices(alone),
        alternative="Confusion matrix: rows are true classes, columns predicted ones.",
        caption="Test rows by true and predicted class (mean over seeds, rounded); the darker, the larger the share of "
        "the true class.",
    )


def _if_told(section: Section) -> Section:
    """Return a section without what it says where there is nothing to show: the report of all methods says so once."""
    shows = any(isinstance(block, Table | FigureBlock | Fold) for block in section.blocks)
    return section if shows else replace(section, blocks=())


def _with_own_figures(section: Section, method: str) -> Section:
    """Return a section whose figures are called after the method; a point stands in no other name."""
    return replace(section, blocks=tuple(_renamed(block, method) for block in section.blocks))


def _renamed(block: Block, method: str) -> Block:
    if isinstance(block, Card):
        return block
    if isinstance(block, Fold):
        return replace(block, blocks=tuple(_renamed_inner(one, method) for one in block.blocks))
    return _renamed_inner(block, method)


def _renamed_inner(block: Inner, method: str) -> Inner:
    return replace(block, name=f"{method}.{block.name}") if isinstance(block, FigureBlock) else block
