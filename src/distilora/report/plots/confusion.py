"""Confusion matrices side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distilora.report.plots.style import FAINT, INK, WIDTH, look, new_figure, rendered
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DARK = 0.55
"""Share of a row above which its cell is so dark that the count is written in white."""


def confusion_matrices(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, one confusion matrix for each scored method; nothing where no method has a score.

    Colours: share of the true class's rows. Counts: test rows, the mean over seeds, rounded.
    """
    rows = [row for row in comparison.scored if row.confusion is not None]
    if not rows:
        return None
    names = comparison.data.label_names
    columns = min(len(rows), 4 if len(names) <= 2 else 3 if len(names) <= 5 else 2)
    lines = math.ceil(len(rows) / columns)
    longest = min(_limit(names), max(map(len, names)))
    side = min((WIDTH - 0.075 * longest) / max(columns, 2) - 0.1, 0.75 * len(names) + 0.3)
    with look():
        figure = new_figure(lines * (side + 0.35) + 0.06 * longest + 0.35)
        grid = figure.subplots(lines, columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(rows):
                axes.set_visible(False)
                continue
            _matrix(axes, rows[index], names)
            _name_classes(axes, names, left=index % columns == 0, below=index + columns >= len(rows))
        figure.supxlabel("predicted", color=FAINT, fontsize=9)
        figure.supylabel("true", color=FAINT, fontsize=9)
        return rendered(figure, png=png)


def _limit(names: tuple[str, ...]) -> int:
    return 20 if len(names) <= 5 else 18


def _matrix(axes: Axes, row: MethodRow, names: tuple[str, ...]) -> None:
    counts = np.asarray(row.confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1.1, edgecolors="white", linewidth=1.2)
    axes.set_ylim(len(names), 0)
    axes.set_box_aspect(1)
    size = 9 if len(names) <= 3 else 7.5 if len(names) <= 5 else 7
    for (line, column), share in np.ndenumerate(shares):
        text = _short_count(float(counts[line, column]))
        colour = "white" if share > _DARK else INK
        axes.text(column + 0.5, line + 0.5, text, ha="center", va="center", fontsize=size, color=colour)
    axes.set_title(shortened(row.method, 24))
    axes.spines[:].set_visible(False)


def _short_count(value: float) -> str:
    return f"{value:,.0f}" if value < 99_999.5 else f"{value / 1000:,.0f}k"


def _name_classes(axes: Axes, names: tuple[str, ...], *, left: bool, below: bool) -> None:
    """Write the class names only at the outer edge of the grid."""
    shown = [shortened(name, _limit(names)) for name in names]
    middles = np.arange(len(names)) + 0.5
    axes.set_yticks(middles if left else [], shown if left else [])
    turned = sum(map(len, shown)) > 18
    axes.set_xticks(
        middles if below else [],
        shown if below else [],
        rotation=40 if turned else 0,
        ha="right" if turned else "center",
    )
    if turned:
        for tick in axes.get_xticklabels():
            tick.set_rotation_mode("anchor")
    axes.tick_params(length=0, colors=INK)
