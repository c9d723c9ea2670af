"""Differences with their intervals around 0, by group, the methods of each group side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from distilora.evaluation.records import Interval
from distilora.report.plots.style import GRID, INK, PAPER, label_rows, look, method_colours, new_figure, rendered, tidy
from distilora.report.records import Comparison
from distilora.report.wording import points, printable, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "h")
_NAME_LIMIT, _LINE, _LINES = 24, 34, 2
_STEP = 0.17
"""Height of one method within a group, in inches."""
_GAP = 0.16
"""Height between two groups, in inches."""
_LINE_HEIGHT = 0.15
"""Of a line of a group's name, in inches."""


@dataclass(frozen=True)
class Spread:
    """One difference of one method, from -1 to 1."""

    method: str
    value: float
    interval: Interval
    is_shown: bool
    """Drawn full; what is not shown is drawn hollow."""


@dataclass(frozen=True)
class SpreadGroup:
    """The differences of all methods in one group."""

    name: str
    spreads: tuple[Spread, ...]
    note: str = ""
    """Below the name."""


def spread_figure(
    comparison: Comparison, groups: Sequence[SpreadGroup], *, axis: str, png: Path | None = None
) -> str | None:
    """Return, as SVG, a point with a whisker for each method in each group, in points; nothing without any.

    Args:
        comparison: for the colours of its methods; no others are drawn.
        groups: from the top down; a method may be missing in some.
        axis: what the horizontal axis shows.
        png: also write the figure here.
    """
    colours = method_colours(comparison)
    known = [replace(group, spreads=tuple(one for one in group.spreads if one.method in colours)) for group in groups]
    drawn = [group for group in known if group.spreads]
    if not drawn:
        return None
    present = {spread.method for group in drawn for spread in group.spreads}
    methods = [row.method for row in comparison.methods if row.method in present]
    # A method keeps its marker, as its colour, in every figure.
    markers = {method: _MARKERS[index % len(_MARKERS)] for index, method in enumerate(colours)}
    height = _group_height(drawn, methods=len(methods))
    with look():
        figure = new_figure(0.8 + 0.2 * (1 + (len(methods) - 1) // 6) + height * len(drawn))
        axes = figure.subplots()
        for place, group in enumerate(drawn):
            for spread in group.spreads:
                shift = (methods.index(spread.method) - (len(methods) - 1) / 2) * _STEP / height
                _draw(axes, place + shift, spread, colour=colours[spread.method], marker=markers[spread.method])
        _finish(axes, drawn, axis=axis)
        _legend(figure, methods, colours=colours, markers=markers)
        return rendered(figure, png=png)


def _group_height(groups: Sequence[SpreadGroup], *, methods: int) -> float:
    """Return the height of one group in inches: enough for its methods and for its name."""
    lines = max(_label(group).count("\n") + 1 for group in groups)
    return max(_LINE_HEIGHT * lines, _STEP * methods) + _GAP


def _finish(axes: Axes, groups: Sequence[SpreadGroup], *, axis: str) -> None:
    """Draw what groups and points are read by."""
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    between = [place + 0.5 for place in range(len(groups) - 1)]
    axes.hlines(between, 0, 1, color=GRID, linewidth=0.8, zorder=0.5, transform=axes.get_yaxis_transform())
    label_rows(axes, [_label(group) for group in groups], colours=[INK] * len(groups))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel(axis)
    axes.margins(x=0.06)
    axes.xaxis.set_major_formatter(lambda value, _: points(value / 100).removesuffix(".0"))
    tidy(axes, grid="x")


def _draw(axes: Axes, place: float, spread: Spread, *, colour: str, marker: str) -> None:
    ends = [100 * spread.interval.low, 100 * spread.interval.high]
    axes.plot(ends, [place, place], color=colour, linewidth=1.8, solid_capstyle="butt")
    fill = colour if spread.is_shown else PAPER
    axes.plot(
        100 * spread.value,
        place,
        marker=marker,
        markersize=5.5,
        color=colour,
        markerfacecolor=fill,
        markeredgewidth=1.5,
    )


def _label(group: SpreadGroup) -> str:
    lines = textwrap.wrap(printable(group.name), _LINE, max_lines=_LINES, placeholder="…")
    return "\n".join([*lines, *([group.note] if group.note else [])])


def _legend(figure: Figure, methods: Sequence[str], *, colours: dict[str, str], markers: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colours[name], marker=markers[name], markersize=5.5) for name in methods]
    names = [shortened(name, _NAME_LIMIT) for name in methods]
    figure.legend(handles, names, loc="outside upper left", ncols=6, handlelength=1.6, columnspacing=1.4)
