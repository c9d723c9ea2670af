"""How much each method would find, and how much of that would be right, at every threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilora.evaluation.curves import PrecisionRecallCurve
from distilora.report.comparing.probabilities import POSITIVE
from distilora.report.plots.style import FAINT, look, method_colours, new_figure, rendered, tidy
from distilora.report.records import MAJORITY, Comparison
from distilora.report.wording import number, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 6
"""So many classes have a panel, the rarest first."""
_NAME_LIMIT = 24
# As many as there are colours, so that no two of ten methods share a dash.
_DASHES: tuple[tuple[float, ...], ...] = (
    *((), (5, 1.5), (1.2, 1.2), (7, 1.5, 1.2, 1.5), (3, 1.2)),
    *((9, 2), (5, 1.2, 1.2, 1.2, 1.2, 1.2), (2, 2.5), (9, 1.2, 3, 1.2), (1.2, 3)),
)
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
Curves = list[tuple[str, PrecisionRecallCurve]]
"""Methods, the best macro-F1 first, each with a curve."""


def drawn_classes(comparison: Comparison) -> tuple[str, ...]:
    """Return which panels there are: ``positive`` alone where there is such a curve, else the six rarest classes."""
    rows = [row for row in comparison.scored if row.method != MAJORITY]
    keys = dict.fromkeys(key for row in rows for key in row.precision_recall)
    if comparison.data.positive:  # Else ``positive`` may be a class of that name.
        return (POSITIVE,) if POSITIVE in keys else ()
    rarest = sorted(keys, key=lambda name: (comparison.class_support.get(name, 0), name))
    return tuple(rarest[:MOST_CLASSES])


def class_curves(comparison: Comparison, key: str) -> Curves:
    """Return each method's curve of one class; the majority class is left out, for it is equally sure of every row."""
    rows = [row for row in comparison.scored if row.method != MAJORITY]
    return [(row.method, row.precision_recall[key]) for row in rows if key in row.precision_recall]


def precision_recall_curves(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, precision against recall, a panel for the positive classes or one a class; nothing without any.

    A mark stands where the threshold in use is, if there is one; a faint line shows what chance would reach.
    """
    keys = drawn_classes(comparison)
    if not keys:
        return None
    columns = min(3, len(keys)) if len(keys) != 4 else 2
    lines = math.ceil(len(keys) / columns)
    looks = _looks(comparison)
    with look():
        figure = new_figure((8.6 / max(2, columns) + 0.35) * lines + 0.35)
        grid = figure.subplots(lines, max(2, columns), squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index < len(keys):
                _panel(axes, class_curves(comparison, keys[index]), looks, title=_title(comparison, keys[index]))
            else:
                axes.set_axis_off()
        if len(keys) == 1:
            _name_beside(grid[0, 1], class_curves(comparison, keys[0]), looks)
        else:
            _name_above(figure, comparison, keys, looks)
        return rendered(figure, png=png)


def _looks(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Return each method's colour, dash and mark; they do not depend on scores."""
    colours = method_colours(comparison)
    return {
        method: {
            "color": colour,
            "linestyle": (0, _DASHES[index % len(_DASHES)]) if _DASHES[index % len(_DASHES)] else "-",
            "marker": _MARKS[index % len(_MARKS)],
            "linewidth": 1.3,
        }
        for index, (method, colour) in enumerate(colours.items())
    }


def _title(comparison: Comparison, key: str) -> str:
    positive = comparison.data.positive
    return shortened(" + ".join(positive), 44) if positive else shortened(key, 26)


def _panel(axes: Axes, curves: Curves, looks: dict[str, dict[str, Any]], *, title: str) -> None:
    share = curves[0][1].positive_share
    axes.axhline(share, color=FAINT, linewidth=0.9, linestyle=(0, (1, 1.6)))
    above = share < 0.5
    axes.annotate(f"chance {number(share, 2)}", (0.02, share), xytext=(0, 3 if above else -3),
                  textcoords="offset points", color=FAINT, fontsize=8, va="bottom" if above else "top")  # fmt: skip
    for method, curve in reversed(curves):  # The best lies on top.
        known = [(point.recall, point.precision) for point in curve.points if point.precision is not None]
        axes.plot(*zip(*known, strict=True), **(looks[method] | {"marker": "none"}))
    for method, curve in reversed(curves):
        if curve.chosen is not None and curve.chosen.precision is not None:
            axes.plot(curve.chosen.recall, curve.chosen.precision, **(looks[method] | _mark_look()))
    axes.set_title(title)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.03)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_xlabel("recall: share found")
    axes.set_ylabel("precision: share right")
    axes.set_box_aspect(1)
    tidy(axes, grid="both")


def _mark_look() -> dict[str, Any]:
    return {"markersize": 7.5, "markeredgecolor": "white", "markeredgewidth": 0.9, "linestyle": "none", "zorder": 4}


def _name_beside(axes: Axes, curves: Curves, looks: dict[str, dict[str, Any]]) -> None:
    """Name the methods beside the only panel, each with the value of its threshold: no two of them can overlap."""
    handles = [_handle(curve, looks[method]) for method, curve in curves]
    names = [
        shortened(method, _NAME_LIMIT)
        + (f", threshold {number(curve.chosen.threshold)}" if curve.chosen is not None else "")
        for method, curve in curves
    ]
    has_marks = any(curve.chosen is not None for _, curve in curves)
    axes.legend(handles, names, loc="center left", handlelength=4.5, labelspacing=0.9, alignment="left",
                title="A mark stands at the threshold in use." if has_marks else None)  # fmt: skip


def _handle(curve: PrecisionRecallCurve | None, style: dict[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    has_mark = curve is not None and curve.chosen is not None
    marks = {"markersize": 7.0, "markeredgecolor": "white"} if has_mark else {"marker": "none"}
    return Line2D([], [], **(style | marks))


def _name_above(figure: Figure, comparison: Comparison, keys: Sequence[str], looks: dict[str, dict[str, Any]]) -> None:
    curves = {method: curve for key in keys for method, curve in class_curves(comparison, key)}
    handles = [_handle(curve, looks[method]) for method, curve in curves.items()]
    names = [shortened(method, _NAME_LIMIT) for method in curves]
    longest = max(len(name) for name in names)
    columns = max(1, min(5, 110 // (longest + 9)))
    figure.legend(handles, names, loc="outside upper left", ncols=columns, handlelength=4.5, columnspacing=1.4)
