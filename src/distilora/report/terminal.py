"""The table of scores for a terminal."""

from __future__ import annotations

from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import count, duration, number, span

_HEADER = ("method", "seeds", "macro-F1", "95 % interval", "accuracy", "parameters", "MB", "training")


def score_table(comparison: Comparison) -> str:
    """Return one line for each method, the best first, in columns of even width; scores are those of the test rows."""
    cells = [_HEADER, *(_cells(row) for row in comparison.rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADER))]
    return "\n".join(_line(line, widths) for line in cells)


def _cells(row: MethodRow) -> tuple[str, ...]:
    if row.macro_f1 is None:
        return (row.method, str(len(row.void)), "void", "", "", "", "", "")
    return (
        row.method,
        str(len(row.seeds)),
        number(row.macro_f1.mean),
        span(row.macro_f1.interval),
        number(row.accuracy.mean if row.accuracy else None),
        count(row.parameters),
        number(row.size_mb, 1),
        duration(row.training_seconds),
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((first, *others)).rstrip()
