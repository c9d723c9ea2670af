"""Score against cost: what a faster or smaller model costs in macro-F1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distilora.report.comparing.costs import TIMED_TOKENS
from distilora.report.plots.labels import Box, Label, Place, label_points
from distilora.report.plots.style import FAINT, INK, look, method_colours, new_figure, rendered, tidy
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import number, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8)
_SMALL: Mapping[str, Any] = {"color": FAINT, "fontsize": 8.5}


class CostAxis(NamedTuple):
    """What stands for the cost of a method."""

    words: str
    unit: str
    cheaper: str
    """What a method of less cost is called."""
    of: Callable[[MethodRow], float | None]
    """Above 0; absent where it was not measured."""


def cost_axis(comparison: Comparison) -> CostAxis:
    """Return the median time for one text of 64 tokens, or where no method was timed the size of the weights."""
    costs = comparison.costs
    if costs is None or not any(_latency(comparison, row) for row in comparison.candidates):
        return CostAxis("size of the weights", "MB", "smaller", lambda row: row.size_mb or None)
    words = f"median time for one text of {TIMED_TOKENS} tokens"
    return CostAxis(words, "ms", "faster", lambda row: _latency(comparison, row))


def _latency(comparison: Comparison, row: MethodRow) -> float | None:
    measured = comparison.costs_of(row.method)
    usual = measured.latency_at(TIMED_TOKENS) if measured else None
    return usual.p50_ms or None if usual else None


def frontier(rows: Sequence[MethodRow], axis: CostAxis) -> list[MethodRow]:
    """Return the methods than which no other costs less and scores as well on test, the cheapest first.

    Args:
        rows: with a score and a cost each.
        axis: what is their cost.
    """
    reached: list[MethodRow] = []
    for row in sorted(rows, key=lambda row: (axis.of(row) or 0.0, -_score(row))):
        if not reached or _score(row) > _score(reached[-1]):
            reached.append(row)
    return reached


def _score(row: MethodRow) -> float:
    return row.macro_f1.mean if row.macro_f1 else 0.0


def score_against_cost(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, test macro-F1 with its interval against cost, with the frontier; baselines are lines across.

    A ring marks the recommended method. Methods of the same cost stand side by side. A baseline far below all points is
    named below the scale.

    Returns:
        Nothing where no scored method has a cost.
    """
    axis = cost_axis(comparison)
    rows = [row for row in comparison.candidates if axis.of(row) is not None]
    if not rows:
        return None
    chosen = comparison.recommended
    colours = method_colours(comparison)
    with look():
        figure = new_figure(4.4)
        axes = figure.subplots()
        _scale(axes, [axis.of(row) or 0.0 for row in rows], label=f"{axis.words}, {axis.unit} (log scale)")
        _limit_scores(axes, comparison, rows)
        _draw_baselines(axes, comparison)
        figure.draw_without_rendering()  # From here on, places in pixels hold.
        figure.set_layout_engine("none")
        places = _places(axes, rows, axis)
        steps = _draw_frontier(axes, frontier(rows, axis), dict(zip((row.method for row in rows), places, strict=True)))
        for row, place in zip(rows, places, strict=True):
            _draw_point(axes, row, place, colours[row.method])
            if row.method == chosen:
                _draw_ring(axes, place)
        marks = [_mark(place, ring=row.method == chosen) for row, place in zip(rows, places, strict=True)]
        taken = [*marks, *_whiskers(axes, rows, places), *steps, *_lines(axes, comparison)]
        label_points(axes, [_label(row, place, chosen) for row, place in zip(rows, places, strict=True)], taken)
        return rendered(figure, png=png)


def _label(row: MethodRow, place: Place, chosen: str | None) -> Label:
    is_chosen = row.method == chosen
    return Label(shortened(row.method, 24) + (": recommended" if is_chosen else ""), place, bold=is_chosen)


def _scale(axes: Axes, costs: Sequence[float], *, label: str) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = min(costs) / 1.4, max(costs) * 1.5
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [step * 10.0**power for power in range(-6, 10) for step in _STEPS]
    inside = [tick for tick in ticks if low <= tick <= high]
    axes.xaxis.set_major_locator(FixedLocator(inside[:: max(1, len(inside) // 8)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_xlabel(label)
    axes.set_ylabel("macro-F1 on test rows")
    tidy(axes, grid="both")


def _limit_scores(axes: Axes, comparison: Comparison, rows: Sequence[MethodRow]) -> None:
    scores = [row.macro_f1 for row in rows if row.macro_f1]
    low = min(score.interval.low if score.interval else score.mean for score in scores)
    high = max(score.interval.high if score.interval else score.mean for score in scores)
    for baseline in (row.macro_f1.mean for row in comparison.scored if row.is_baseline and row.macro_f1):
        # The best baseline comes first; one so low that it would squeeze the points together stays outside.
        if low - baseline <= max(high - low, 0.05):
            low, high = min(low, baseline), max(high, baseline)
    margin = 0.08 * (high - low) + 0.01
    axes.set_ylim(low - margin, high + margin)


def _draw_baselines(axes: Axes, comparison: Comparison) -> None:
    bottom = axes.get_ylim()[0]
    scores = {shortened(row.method, 16): _score(row) for row in comparison.scored if row.is_baseline}
    for name, score in scores.items():
        if score >= bottom:
            axes.axhline(score, color=FAINT, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1)
            place = ("axes fraction", "data")
            axes.annotate(f"{name}\n{number(score)}", (1.01, score), xycoords=place, va="center", **_SMALL)
    below = [f"↓ {name} {number(score)}" for name, score in scores.items() if score < bottom]
    axes.text(1.01, -0.02, "\n".join(below), transform=axes.transAxes, va="top", **_SMALL)


def _places(axes: Axes, rows: Sequence[MethodRow], axis: CostAxis, *, gap: float = 16.0) -> list[Place]:
    """Return each point's place in pixels, moved sideways where points would stand upon each other."""
    places: list[Place] = []
    for row in rows:
        x, y = axes.transData.transform((axis.of(row) or 1.0, _score(row)))
        taken = [other for other, _ in places]
        steps = (side * gap * step for step in range(2 * len(rows)) for side in (1, -1))
        place = next(x + step for step in steps if all(abs(x + step - other) >= gap for other in taken))
        places.append((place, float(y)))
    return places


def _draw_frontier(axes: Axes, reached: Sequence[MethodRow], places: Mapping[str, Place]) -> list[Box]:
    """Draw the frontier as a stair through the points on it, and return what it covers; a lone point has none."""
    if len(places) < 2:
        return []
    window = axes.get_window_extent()
    corners = sorted(places[row.method] for row in reached)
    stair = [*_stair(corners), (window.x1, corners[-1][1])]
    shares = [axes.transAxes.inverted().transform(corner) for corner in stair]
    across, up = zip(*shares, strict=True)
    axes.plot(across, up, transform=axes.transAxes, color=INK, linewidth=1.1, alpha=0.45, zorder=1.5)
    return [Box(min(x, x2) - 2, min(y, y2) - 2, max(x, x2) + 2, max(y, y2) + 2) for (x, y), (x2, y2) in pairwise(stair)]


def _stair(corners: Sequence[Place]) -> list[Place]:
    turns = [(x2, y) for (_, y), (x2, _) in pairwise(corners)]
    steps = [corners[0]]
    for turn, corner in zip(turns, corners[1:], strict=True):
        steps += [turn, corner]
    return steps


def _draw_point(axes: Axes, row: MethodRow, place: Place, colour: str) -> None:
    x = axes.transData.inverted().transform(place)[0]
    interval = row.macro_f1.interval if row.macro_f1 else None
    if interval:
        axes.plot([x, x], [interval.low, interval.high], color=colour, linewidth=1.6, alpha=0.55, zorder=2)
    axes.plot(x, _score(row), marker="o", markersize=8, color=colour, zorder=3)


def _mark(place: Place, *, ring: bool) -> Box:
    x, y = place
    reach = 14 if ring else 8
    return Box(x - reach, y - reach, x + reach, y + reach)


def _draw_ring(axes: Axes, place: Place) -> None:
    x, y = axes.transData.inverted().transform(place)
    axes.plot(
        x, y, marker="o", markersize=14, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.6, zorder=3
    )


def _whiskers(axes: Axes, rows: Sequence[MethodRow], places: Sequence[Place]) -> list[Box]:
    boxes = []
    for row, (x, _) in zip(rows, places, strict=True):
        if row.macro_f1 and row.macro_f1.interval:
            interval = row.macro_f1.interval
            low, high = (axes.transData.transform((1.0, value))[1] for value in (interval.low, interval.high))
            boxes.append(Box(x - 2, low, x + 2, high))
    return boxes


def _lines(axes: Axes, comparison: Comparison) -> list[Box]:
    """Return what the lines of baselines cover."""
    window = axes.get_window_extent()
    heights = (axes.transData.transform((1.0, _score(row)))[1] for row in comparison.scored if row.is_baseline)
    return [Box(window.x0, y - 2, window.x1, y + 2) for y in heights]
