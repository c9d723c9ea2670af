"""The table of scores for a terminal."""

from __future__ import annotations

from distilora.report.comparing.costs import TIMED_TOKENS
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import duration, number, shortened, span

_HEADER = ("method", "seeds", "macro-F1", "95 % interval", "accuracy", "ms", "MB", "training")
_LONGEST_NAME = 28
"""So that the table fits into 100 columns."""
_MARK = " *"


def score_table(comparison: Comparison) -> str:
    """Return one line for each method, the best first, in columns of even width; scores are those of the test rows.

    The recommended method has a star; a time and a size are what was measured of the model to ship, and where nothing
    was measured the size is that of the weights. No line is longer than 100 characters.
    """
    cells = [_HEADER, *(_cells(row, comparison) for row in comparison.methods)]
    shown = [index for index in range(len(_HEADER)) if any(line[index].strip("—") for line in cells[1:])]
    widths = [max(len(line[index]) for line in cells) for index in range(len(_HEADER))]
    lines = [_line([(line[index], widths[index]) for index in shown]) for line in cells]
    return "\n".join([*lines, *_key(comparison)])


def _cells(row: MethodRow, comparison: Comparison) -> tuple[str, ...]:
    name = shortened(row.method, _LONGEST_NAME)
    if row.method == comparison.recommended:
        name += _MARK
    if row.macro_f1 is None:
        return (name, str(len(row.void)), "void", "", "", "", "", "")
    measured = comparison.costs_of(row.method)
    usual = measured.latency_at(TIMED_TOKENS) if measured else None
    return (
        name,
        str(len(row.seeds)),
        number(row.macro_f1.mean),
        span(row.macro_f1.interval),
        number(row.accuracy.mean if row.accuracy else None),
        number(usual.p50_ms if usual else None, 1),
        number(measured.size_mb if measured else row.size_mb, 1),
        duration(row.training_seconds),
    )


def _key(comparison: Comparison) -> list[str]:
    """Return what a star, a time and a size mean, where there are any."""
    lines = []
    if comparison.recommended is not None:
        lines.append("* recommended, chosen on validation rows alone")
    if comparison.costs is not None:
        lines.append(f"ms: one text of {TIMED_TOKENS} tokens, median; MB: all that is shipped, where it was measured")
    return ["", *lines] if lines else []


def _line(cells: list[tuple[str, int]]) -> str:
    (first, width), *others = cells
    return "  ".join((first.ljust(width), *(cell.rjust(wide) for cell, wide in others))).rstrip()
