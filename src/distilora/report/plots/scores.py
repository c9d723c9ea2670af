"""Score bars, differences to the teacher, and F1 by class."""

from __future__ import annotations

import textwrap
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from distilora.report.plots.style import (
    FAINT,
    INK,
    PAPER,
    WIDTH,
    label_rows,
    look,
    method_colours,
    new_figure,
    rendered,
    tidy,
)
from distilora.report.records import Comparison, Difference, MethodRow, Score
from distilora.report.wording import MISSING, number, points, points_span, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME_LIMIT = 24


def score_bars(comparison: Comparison, *, png: Path | None = None) -> str:
    """Return, as SVG, a bar for each method's macro-F1 and accuracy on test rows, with 95 % intervals.

    Args:
        comparison: at least one method; void methods keep a row without bars.
        png: also write the figure here.
    """
    colours = method_colours(comparison)
    with look():
        figure = new_figure(0.9 + 0.32 * len(comparison.methods))
        panels = figure.subplots(1, 2, sharey=True)
        _bars(panels[0], comparison, colours, title="macro-F1", scores=[row.macro_f1 for row in comparison.methods])
        _bars(panels[1], comparison, colours, title="accuracy", scores=[row.accuracy for row in comparison.methods])
        names = [shortened(row.method, _NAME_LIMIT) for row in comparison.methods]
        label_rows(panels[0], names, colours=[FAINT if row.is_baseline else INK for row in comparison.methods])
        return rendered(figure, png=png)


def _bars(
    axes: Axes, comparison: Comparison, colours: dict[str, str], *, title: str, scores: list[Score | None]
) -> None:
    for place, (row, score) in enumerate(zip(comparison.methods, scores, strict=True)):
        if score is None:
            note = "void" if row.void else MISSING
            axes.text(0.012, place, note, va="center", color=FAINT, style="italic")
            continue
        axes.barh(place, score.mean, height=0.62, color=colours[row.method])
        if score.interval:
            ends = [score.interval.low, score.interval.high]
            axes.plot(ends, [place, place], color=PAPER, linewidth=3.6)  # Sets the whisker off from a dark bar.
            axes.plot(ends, [place, place], color=INK, linewidth=1.5)
        # In a column of its own beyond 1, where no bar or whisker can reach it.
        axes.text(1.03, place, number(score.mean), va="center", clip_on=False, fontweight=_weight(comparison, row))
    axes.set_title(title)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    tidy(axes, grid="x")


def _weight(comparison: Comparison, row: MethodRow) -> str:
    return "bold" if row.method == comparison.best and not comparison.contenders else "normal"


def teacher_differences(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, each method's macro-F1 less the teacher's in points, with paired 95 % intervals.

    Returns:
        Nothing where no method can be compared with a teacher.
    """
    compared = [(row, row.to_teacher) for row in comparison.candidates if row.to_teacher is not None]
    if not compared:
        return None
    colours = method_colours(comparison)
    with look():
        figure = new_figure(1.1 + 0.32 * len(compared))
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1)
        for place, (row, difference) in enumerate(compared):
            _difference(axes, place, difference, colours[row.method])
        label_rows(axes, [shortened(row.method, _NAME_LIMIT) for row, _ in compared], colours=[INK] * len(compared))
        axes.set_xlabel(f"points of macro-F1 below or above {shortened(comparison.teacher or '', _NAME_LIMIT)}")
        axes.margins(x=0.08)
        axes.xaxis.set_major_formatter(lambda value, _: points(value / 100))
        tidy(axes, grid="x")
        return rendered(figure, png=png)


def _difference(axes: Axes, place: int, difference: Difference, colour: str) -> None:
    interval = difference.interval
    text = points(difference.value)
    if interval:
        axes.plot([100 * interval.low, 100 * interval.high], [place, place], color=colour, linewidth=2.4)
        text += f" ({points_span(interval)})"
    # A hollow point: no difference was found.
    fill = colour if difference.is_shown else "white"
    axes.plot(100 * difference.value, place, marker="o", markersize=7, color=colour, markerfacecolor=fill, mew=1.8)
    axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)


def class_f1_bars(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, the F1 of every class by every scored method with 95 % intervals; nothing without a score."""
    rows = [row for row in comparison.scored if row.classes is not None]
    if not rows:
        return None
    colours = method_colours(comparison)
    names = comparison.data.label_names
    width = min(0.84 / len(rows), 0.2)
    with look():
        figure = new_figure(3.1 + 0.22 * (1 + len(rows) // 6))
        axes = figure.subplots()
        for index, row in enumerate(rows):
            scores = [row.classes[name].f1 for name in names if row.classes]
            shift = (index - (len(rows) - 1) / 2) * width
            places = [place + shift for place in range(len(names))]
            axes.bar(places, [score.mean for score in scores], width=0.92 * width, color=colours[row.method])
            _whiskers(axes, places, scores, bar=0.9 * 72 * WIDTH * width / len(names))
        limit = max(10, 92 // len(names))
        axes.set_xticks(range(len(names)), [_class_label(comparison, name, limit) for name in names], color=INK)
        axes.set_xlim(-0.52, len(names) - 0.48)
        axes.set_ylim(0, 1)
        axes.set_ylabel("F1")
        tidy(axes, grid="y")
        _legend_above(figure, rows, colours)
        return rendered(figure, png=png)


def _whiskers(axes: Axes, places: list[float], scores: list[Score], *, bar: float) -> None:
    """Draw intervals over bars that are ``bar`` typographic points wide, thin enough to leave the bars to be seen."""
    thin, wide = min(1.2, 0.16 * bar), min(3.0, 0.34 * bar)
    for place, interval in zip(places, (score.interval for score in scores), strict=True):
        if interval:
            axes.plot([place, place], [interval.low, interval.high], color=PAPER, linewidth=wide)
            axes.plot([place, place], [interval.low, interval.high], color=INK, linewidth=thin)


def _class_label(comparison: Comparison, name: str, limit: int) -> str:
    if any(unicodedata.east_asian_width(character) in "WF" for character in name):
        limit //= 2  # such characters are twice as wide
    lines = textwrap.wrap(shortened(name, 3 * limit - 2), limit)[:3] or [MISSING]
    return "\n".join([*lines, f"{comparison.class_support.get(name, 0):,} rows"])


def _legend_above(figure: Figure, rows: list[MethodRow], colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colours[row.method]) for row in rows]
    names = [shortened(row.method, _NAME_LIMIT) for row in rows]
    figure.legend(handles, names, loc="outside upper left", ncols=6, handlelength=1, columnspacing=1.4)
