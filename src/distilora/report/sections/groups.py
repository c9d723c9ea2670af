"""Whether compression hurt a class, a group or a kind of hard case."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.report import plots
from distilora.report.blocks import Block, Bullets, Paragraph, Section, Table, figure
from distilora.report.foreground import foreground, foreground_note
from distilora.report.records import FEW_ROWS, LEVEL, ClassChange, Comparison, MethodRow
from distilora.report.sections.cells import shown_change
from distilora.report.sections.suites import suite_blocks
from distilora.report.wording import MISSING, counted, first_of, p_words, points, points_span, printable

_WHERE = "the table has all"
_LISTED = 6
"""Of more changes than these only the number is told."""


def groups_section(comparison: Comparison) -> Section:
    """Return how each class, and each group of the suites that were asked, changed against the teacher."""
    in_front = foreground(comparison)
    suites = [block for assessment in in_front.suites for block in suite_blocks(in_front, assessment)]
    note = foreground_note(comparison, where="the pages of the others and comparison.json have theirs").strip()
    more = [Paragraph(note)] if suites and note else []
    hint = [Paragraph(_how_to_ask(comparison))] if comparison.candidates and not suites else []
    return Section("groups", "Are groups and hard cases treated alike?", (*_classes(comparison), *more, *suites, *hint))


def _classes(comparison: Comparison) -> tuple[Block, ...]:
    rows = [row for row in comparison.methods if row.class_changes]
    if not rows:
        return ()
    in_front = foreground(comparison)
    drawn = figure(
        "class-changes",
        plots.class_changes(in_front),
        alternative=f"Recall of each class less the teacher's, in points. {_alternative(in_front.methods)}",
        caption="Recall of each class less the teacher's, with paired 95 % intervals over test rows. A hollow point: "
        f"no difference was found once p is corrected for all of them.{foreground_note(comparison, where=_WHERE)}",
    )
    return Bullets(tuple(_class_sentences(comparison, rows))), *drawn, _class_table(comparison, rows)


def _alternative(rows: Sequence[MethodRow]) -> str:
    parts = (
        f"{printable(row.method)}: "
        + ", ".join(f"{printable(change.name)} {points(change.value)}" for change in row.class_changes)
        for row in rows
        if row.class_changes
    )
    return "; ".join(parts) + "."


def _class_sentences(comparison: Comparison, rows: Sequence[MethodRow]) -> list[str]:
    """Return which classes are found less often than by the teacher, and which more often."""
    changes = [(row.method, change) for row in rows for change in row.class_changes]
    shown = sorted((one for one in changes if one[1].is_shown), key=lambda one: one[1].value)
    lower = [_named(*one) for one in shown if one[1].value < 0]
    higher = [_named(*one) for one in reversed(shown) if one[1].value > 0]
    teacher = printable(comparison.teacher or "the teacher")
    sentences = []
    if lower:
        sentences.append(f"Lower recall than {teacher}: {_first(lower)}.")
    if higher:
        sentences.append(f"Higher recall than {teacher}: {_first(higher)}.")
    if not shown:
        sentences.append(
            f"No class is shown to be found less or more often than by {teacher}. That does not show that all classes "
            "are found as often."
        )
    sentences.append(
        f"Looked at were {counted(len(changes), 'change')}: a class counts as lost or won where p, exact and corrected "
        f"(Holm) for all of them, is below {LEVEL}. Intervals are those of each change by itself."
    )
    return sentences


def _named(method: str, change: ClassChange) -> str:
    known = f"95 % interval {points_span(change.interval)}, {p_words(change.p_holm)}"
    amount = f"{points(change.value, signed=False)} points, {known}"
    return f"{printable(method)}, {printable(change.name)} (by {amount})"


def _first(parts: Sequence[str]) -> str:
    return "; ".join(first_of(parts, most=_LISTED, shown=_LISTED, see="the table"))


def _class_table(comparison: Comparison, rows: Sequence[MethodRow]) -> Table:
    names = comparison.data.label_names
    columns = [f"{printable(name)} ({counted(comparison.class_support.get(name, 0), 'row')})" for name in names]
    few = f"; with fewer than {FEW_ROWS} rows an interval is too narrow" if comparison.scarce_classes else ""
    return Table(
        "Recall of each class (the share of its rows that are found) less the teacher's, in points (95 % interval); "
        f"*: found, that is p below {LEVEL} after Holm's correction for all of these changes{few}",
        ("method", *columns),
        tuple((printable(row.method), *(_change(row, name) for name in names)) for row in rows),
    )


def _change(row: MethodRow, name: str) -> str:
    change = next((one for one in row.class_changes if one.name == name), None)
    if change is None:
        return MISSING
    return shown_change(change.value, change.interval, is_shown=change.is_shown)


def _how_to_ask(comparison: Comparison) -> str:
    named = "" if comparison.data.positive else " --positive CLASS"
    return (
        "Classes are not groups of people. Whether comments that mention a group are treated worse, and which kinds "
        "of hard cases are lost, shows only on comments made to ask it: run the same distilora compare command again "
        f"with{named} --set suites.hatecheck=FILE (HateCheck's test_suite_cases.csv) or --set suites.identity=FILE "
        "(comments with the identities that they mention). Nothing is trained anew; docs/evaluate.md describes both."
    )
