"""The F1 of each class, and what is taken for what."""

from __future__ import annotations

from distilora.report import plots
from distilora.report.blocks import Section, Table, figure
from distilora.report.foreground import foreground, foreground_note
from distilora.report.records import Comparison, MethodRow
from distilora.report.sections.cells import shown_score
from distilora.report.wording import MISSING, printable


def classes_section(comparison: Comparison) -> Section:
    """Return the F1 of each class by each method, and the confusion matrices."""
    bars = figure(
        "classes",
        plots.class_f1_bars(foreground(comparison)),
        alternative="Bars of the F1 of each class, as in the table.",
        caption="F1 of each class on test rows; the lines are 95 % intervals over test rows."
        f"{foreground_note(comparison, where='the table has all')}",
    )
    matrices = figure(
        "confusion",
        plots.confusion_matrices(foreground(comparison)),
        alternative="One confusion matrix for each method: rows are true classes, columns predicted ones.",
        caption="Test rows by true and predicted class (mean over seeds, rounded); the darker, the larger the share of "
        f"the true class.{foreground_note(comparison, where='the page of each method has its own')}",
    )
    return Section("classes", "Each class", (*_class_table(comparison), *bars, *matrices))


def _class_table(comparison: Comparison) -> tuple[Table, ...]:
    names = comparison.data.label_names
    if not comparison.scored:
        return ()
    columns = ("method", *(f"{printable(name)} ({comparison.class_support.get(name, 0):,} rows)" for name in names))
    rows = tuple((printable(row.method), *(_class_f1(row, name) for name in names)) for row in comparison.scored)
    return (Table("F1 of each class on test rows, the mean over seeds (95 % interval over rows)", columns, rows),)


def _class_f1(row: MethodRow, name: str) -> str:
    if row.classes is None:
        return MISSING
    return shown_score(row.classes[name].f1)
