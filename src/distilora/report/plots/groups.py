"""How each class, group and kind of hard case changed against the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distilora.evaluation.assessments import Assessment
from distilora.evaluation.suites.records import Change
from distilora.report.plots.intervals import Spread, SpreadGroup, spread_figure
from distilora.report.records import Comparison
from distilora.report.suite_wording import group_words
from distilora.report.wording import counted, shortened

_NAME_LIMIT = 24


def class_changes(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, each class's recall less the teacher's, by method, with paired 95 % intervals.

    A hollow point: the interval holds 0.

    Returns:
        Nothing where no method can be compared with a teacher.
    """
    groups = [_class_group(comparison, name) for name in comparison.data.label_names]
    teacher = shortened(comparison.teacher or "the teacher", _NAME_LIMIT)
    return spread_figure(comparison, groups, axis=f"points of recall below or above {teacher}", png=png)


def _class_group(comparison: Comparison, name: str) -> SpreadGroup:
    spreads = [
        Spread(row.method, change.value, change.interval, is_shown=change.is_shown)
        for row in comparison.methods
        for change in row.class_changes
        if change.name == name
    ]
    return SpreadGroup(name, tuple(spreads), note=counted(comparison.class_support.get(name, 0), "row"))


def suite_changes(
    comparison: Comparison, assessment: Assessment, groups: Sequence[Change], *, png: Path | None = None
) -> str | None:
    """Return, as SVG, how groups of a suite changed against the teacher, by method, with paired 95 % intervals.

    A hollow point: no difference was found once p is corrected for all changes of the method.

    Args:
        comparison: for the order and the colours of the methods.
        assessment: the suite.
        groups: which groups to draw, from the top down: any one change of each.
        png: also write the figure here.

    Returns:
        Nothing without groups or without methods to compare.
    """
    drawn = [_suite_group(assessment, group) for group in groups]
    teacher = shortened(assessment.models[0].path, _NAME_LIMIT)
    unit = "points of right answers" if assessment.suite == "hatecheck" else "points of AUC"
    return spread_figure(comparison, drawn, axis=f"{unit} below or above {teacher}", png=png)


def _suite_group(assessment: Assessment, group: Change) -> SpreadGroup:
    wanted = (group.family, group.name, group.measure)
    spreads = [
        Spread(model.path, change.value, change.interval, is_shown=change.is_shown)
        for model in assessment.models[1:]
        for change in model.changes
        if (change.family, change.name, change.measure) == wanted
    ]
    return SpreadGroup(group_words(group), tuple(spreads), note=counted(group.rows, "row"))
