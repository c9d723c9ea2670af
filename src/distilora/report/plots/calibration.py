"""How often each method is right against how sure it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from distilora.evaluation.calibration import Calibration
from distilora.report.plots.style import FAINT, look, method_colours, new_figure, rendered, tidy
from distilora.report.records import MAJORITY, Comparison, MethodRow
from distilora.report.wording import number, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def reliability_diagrams(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, one reliability diagram for each method, a line for each seed; nothing without kept logits.

    The majority class is left out: it is equally sure of every row.
    """
    rows = [row for row in comparison.scored if row.calibration and row.method != MAJORITY]
    if not rows:
        return None
    colours = method_colours(comparison)
    columns = 4 if len(rows) % 4 in {0, 3} and len(rows) > 3 else 3
    lines = math.ceil(len(rows) / columns)
    with look():
        figure = new_figure((8.6 / columns + 0.2) * lines + 0.4)
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for index, axes in enumerate(grid.flat):
            if index < len(rows):
                _diagram(axes, rows[index], colours[rows[index].method], low=_lowest(rows))
                axes.xaxis.set_tick_params(labelbottom=True)
            else:
                axes.set_visible(False)
        figure.supxlabel("probability of the predicted class", color=FAINT, fontsize=9)
        figure.supylabel("share right", color=FAINT, fontsize=9)
        return rendered(figure, png=png)


def _lowest(rows: list[MethodRow]) -> float:
    """Return the tenth at or below everything that is drawn, so that all panels share one scale."""
    bins = [part for row in rows for one in row.calibration for part in one.bins]
    least = min(min(part.confidence, part.interval.low) for part in bins)
    return math.floor(10 * least) / 10


def _diagram(axes: Axes, row: MethodRow, colour: str, *, low: float) -> None:
    axes.plot([low, 1], [low, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    for calibration in row.calibration:
        _line(axes, calibration, colour)
    error = row.expected_calibration_error
    axes.set_title(shortened(row.method, 20))
    axes.text(0.04, 0.95, f"error {number(error.mean if error else None)}", transform=axes.transAxes, va="top")
    axes.set_xlim(low, 1.02)
    axes.set_ylim(low, 1.02)
    ticks = [tenth / 10 for tenth in range(0, 11, 2) if tenth / 10 >= low]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_box_aspect(1)
    tidy(axes, grid="both")


def _line(axes: Axes, calibration: Calibration, colour: str) -> None:
    across = [part.confidence for part in calibration.bins]
    lows = [part.interval.low for part in calibration.bins]
    highs = [part.interval.high for part in calibration.bins]
    axes.vlines(across, lows, highs, color=colour, linewidth=0.8, alpha=0.35)
    axes.plot(across, [part.accuracy for part in calibration.bins], color=colour, linewidth=1.2, marker="o", ms=2.6)
