"""Single comments: where teacher and student disagree, and labels that are likely wrong."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.evaluation.disagreements import Disagreement, Disagreements
from distilora.evaluation.label_errors import LabelError, LabelErrors
from distilora.layout import DISAGREEMENTS_FILE, LABEL_ERRORS_FILE
from distilora.report.blocks import Block, Fold, Keyed, Links, Paragraph, Section, Table
from distilora.report.foreground import foreground, foreground_note
from distilora.report.records import Comparison, MethodRow
from distilora.report.sections.cells import method_pages
from distilora.report.wording import MISSING, count, counted, number, percent, printable, shortened

MAIN_ROWS = 10
"""Rows of each list that the main page shows."""
_TEXT_LIMIT, _NAME_LIMIT = 200, 40
_WARNING = "Below stand real comments of the test rows, as people wrote them. Some are vile."
_HOW_TO_SHOW = (
    "No comment is shown, as report.error_rows is 0. To see the doubtful rows, run the same distilora compare command "
    "again with --set report.error_rows=50; nothing is trained anew."
)
_HOW_TO_KEEP = (
    "Which rows are doubtful is not known, as these runs were compared without their texts or their logits. Run the "
    "same distilora compare command again; complete runs are not trained anew."
)


def errors_section(comparison: Comparison) -> Section:
    """Return how often each method disagrees with the teacher, and which labels are likely wrong, with the first rows.

    Empty where there is neither; without comments the counts stand alone.
    """
    rows = [row for row in comparison.methods if row.disagreements is not None]
    blocks = (*_warning(comparison, rows), *_disagreements(comparison, rows), *_label_errors(comparison))
    return Section("errors", "Where are they wrong?", blocks)


def method_errors_section(comparison: Comparison, row: MethodRow) -> Section:
    """Return the same of one method, for its own page: every row that is kept; empty where nothing is known of it."""
    known = row.disagreements
    title = "Where are they wrong?"
    if known is None:
        return Section("errors", title, ())
    if not known.top:
        return Section("errors", title, (_count_table(comparison, [row]),))
    link = Links(((f"All {counted(known.count, 'row')} (CSV)", DISAGREEMENTS_FILE),))
    blocks = (Paragraph(_WARNING), _count_table(comparison, [row]), disagreement_table(row), link)
    return Section("errors", title, blocks)


def disagreement_table(row: MethodRow, *, limit: int | None = None) -> Table:
    """Return the rows on which a method chose another class than the teacher, the most confident first.

    Args:
        row: the method; without disagreements the table has no rows.
        limit: most rows that are wanted; absent: all that are known.
    """
    top = row.disagreements.top[:limit] if row.disagreements else ()
    method = printable(row.method)
    return Table(
        f"{_what(row.disagreements, len(top))} on which {method} and the teacher disagree, both of them sure first. "
        "Beside a class: the probability that it was given",
        ("row", "comment", "label", "teacher", method, "right"),
        tuple(_disagreement(one, method=method) for one in top),
        numeric=False,
    )


def label_error_table(found: LabelErrors, *, limit: int | None = None) -> Table:
    """Return the rows whose label is likely wrong, the likeliest first.

    Args:
        found: what was found.
        limit: most rows that are wanted; absent: all that are known.
    """
    top = found.top[:limit]
    return Table(
        f"{_part(len(top), found.count, 'row')} whose label is likely wrong, the likeliest first. Beside a class: its "
        "probability",
        ("row", "comment", "label", "likelier"),
        tuple(_label_error(one) for one in top),
        numeric=False,
    )


def _what(found: Disagreements | None, shown: int) -> str:
    return _part(shown, found.count if found else 0, "row")


def _part(shown: int, total: int, noun: str) -> str:
    return counted(total, noun) if shown == total else f"{shown:,} of {counted(total, noun)}"


def _disagreement(one: Disagreement, *, method: str) -> tuple[str | Keyed, ...]:
    return (
        str(one.row),
        shortened(one.text, _TEXT_LIMIT),
        _name(one.label),
        _sure(one.teacher, one.teacher_probability),
        _sure(one.student, one.student_probability),
        {"teacher": "teacher", "student": method, "neither": "neither"}[one.right],
    )


def _label_error(one: LabelError) -> tuple[str | Keyed, ...]:
    return (
        str(one.row),
        shortened(one.text, _TEXT_LIMIT),
        _sure(one.label, one.label_probability),
        _sure(one.suggested, one.suggested_probability),
    )


def _name(name: str) -> str:
    return shortened(name, _NAME_LIMIT)


def _sure(name: str, probability: float) -> Keyed:
    return Keyed(f"{_name(name)} {number(probability, 2)}", probability)


def _warning(comparison: Comparison, rows: Sequence[MethodRow]) -> tuple[Paragraph, ...]:
    """Return what to know before reading on, or how to get the comments that are missing."""
    known = [row.disagreements for row in rows if row.disagreements is not None]
    errors = [comparison.label_errors] if comparison.label_errors is not None else []
    if any(one.top for one in known) or any(one.top for one in errors):
        return (Paragraph(_WARNING),)
    if any(one.count for one in known) or any(one.count for one in errors):
        return (Paragraph(_HOW_TO_SHOW),)
    return () if known or errors or not comparison.candidates else (Paragraph(_HOW_TO_KEEP),)


def _disagreements(comparison: Comparison, rows: Sequence[MethodRow]) -> tuple[Block, ...]:
    if not rows:
        return ()
    known = [(row, row.disagreements) for row in foreground(comparison).methods if row.disagreements is not None]
    folds = [block for row, found in known if found.top for block in _browser(row, found, comparison)]
    note = foreground_note(comparison, where="the page of each other method has its rows").strip()
    return _count_table(comparison, rows), *([Paragraph(note)] if folds and note else []), *folds


def _count_table(comparison: Comparison, rows: Sequence[MethodRow]) -> Table:
    return Table(
        f"Test rows on which a method and {printable(comparison.teacher or 'the teacher')} choose different classes, "
        "by mean probability over seeds, and who chose the label",
        ("method", "they differ", "share of rows", "teacher right", "method right", "neither right"),
        tuple(_counts(row, row.disagreements) for row in rows if row.disagreements is not None),
    )


def _counts(row: MethodRow, found: Disagreements) -> tuple[str, ...]:
    share = percent(found.count / found.rows) if found.rows else MISSING
    parts = (found.teacher_right, found.student_right, found.neither_right)
    return printable(row.method), count(found.count), share, *map(count, parts)


def _browser(row: MethodRow, found: Disagreements, comparison: Comparison) -> tuple[Fold, ...]:
    """Return the first rows of a method, with the way to all where it has a folder of its name."""
    method = printable(row.method)
    link = Links(
        ((f"All rows on which {method} and the teacher disagree (CSV)", f"{row.method}/{DISAGREEMENTS_FILE}"),)
    )
    links = (link,) if method in method_pages(comparison) else ()
    title = f"{method} against the teacher: {_part(min(MAIN_ROWS, len(found.top)), found.count, 'row')}"
    return (Fold(title, (disagreement_table(row, limit=MAIN_ROWS), *links)),)


def _label_errors(comparison: Comparison) -> tuple[Block, ...]:
    found = comparison.label_errors
    if found is None:
        return ()
    best = f", {printable(comparison.best)}," if comparison.best else ""
    have = "has" if found.count == 1 else "have"
    told = Paragraph(
        f"Labels: of {counted(found.rows, 'test row')}, {found.count:,} {have} a label that is likely wrong; by "
        f"estimate {percent(found.estimated_error_share)} of all labels are. The best method{best} doubts them "
        "with confidence (confident learning), which is no proof: where it is surely wrong itself, a right label is "
        "listed. Let a person look at each before it is changed."
    )
    if not found.top:
        return (told,)
    link = Links((("All rows whose label is likely wrong (CSV)", LABEL_ERRORS_FILE),))
    title = f"Labels that are likely wrong: {_part(min(MAIN_ROWS, len(found.top)), found.count, 'row')}"
    return told, Fold(title, (label_error_table(found, limit=MAIN_ROWS), link))
