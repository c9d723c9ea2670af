"""Score against size: what a smaller model costs in macro-F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilora.report.plots.style import FAINT, INK, look, method_colours, new_figure, rendered, tidy
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import number, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8)
_SMALL: Mapping[str, Any] = {"color": FAINT, "fontsize": 8.5}


@dataclass(frozen=True)
class Box:
    """A rectangle on the canvas, in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Return whether the two share any area."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )

    def is_inside(self, other: Box) -> bool:
        """Return whether no part sticks out of the other."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )


def score_against_size(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, macro-F1 with its interval against the size of the weights; baselines are lines across.

    Methods of one size stand side by side. A baseline far below all points is named below the scale.

    Returns:
        Nothing where no scored method has a size.
    """
    sized = [row for row in comparison.candidates if row.size_mb]
    if not sized:
        return None
    colours = method_colours(comparison)
    with look():
        figure = new_figure(4.4)
        axes = figure.subplots()
        _scale(axes, sized)
        _limit_scores(axes, comparison, sized)
        _draw_baselines(axes, comparison)
        figure.draw_without_rendering()  # From here on, places in pixels hold.
        figure.set_layout_engine("none")
        places = _places(axes, sized)
        for row, place in zip(sized, places, strict=True):
            _draw_point(axes, row, place, colours[row.method])
        _label_points(axes, sized, places)
        return rendered(figure, png=png)


def _draw_baselines(axes: Axes, comparison: Comparison) -> None:
    bottom = axes.get_ylim()[0]
    scores = {
        shortened(row.method, 16): row.macro_f1.mean for row in comparison.scored if row.is_baseline and row.macro_f1
    }
    for name, score in scores.items():
        if score >= bottom:
            axes.axhline(score, color=FAINT, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1)
            place = ("axes fraction", "data")
            axes.annotate(f"{name}\n{number(score)}", (1.01, score), xycoords=place, va="center", **_SMALL)
    below = [f"↓ {name} {number(score)}" for name, score in scores.items() if score < bottom]
    axes.text(1.01, -0.02, "\n".join(below), transform=axes.transAxes, va="top", **_SMALL)


def _scale(axes: Axes, sized: Sequence[MethodRow]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    sizes = [row.size_mb or 0.0 for row in sized]
    low, high = min(sizes) / 1.4, max(sizes) * 1.5
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [step * 10.0**power for power in range(-6, 10) for step in _STEPS]
    inside = [tick for tick in ticks if low <= tick <= high]
    axes.xaxis.set_major_locator(FixedLocator(inside[:: max(1, len(inside) // 8)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_xlabel("size of the weights, MB (log scale)")
    axes.set_ylabel("macro-F1 on test rows")
    tidy(axes, grid="both")


def _limit_scores(axes: Axes, comparison: Comparison, sized: Sequence[MethodRow]) -> None:
    scores = [row.macro_f1 for row in sized if row.macro_f1]
    low = min(score.interval.low if score.interval else score.mean for score in scores)
    high = max(score.interval.high if score.interval else score.mean for score in scores)
    for baseline in (row.macro_f1.mean for row in comparison.scored if row.is_baseline and row.macro_f1):
        # The best baseline comes first; one so low that it would squeeze the points together stays outside.
        if low - baseline <= max(high - low, 0.05):
            low, high = min(low, baseline), max(high, baseline)
    margin = 0.08 * (high - low) + 0.01
    axes.set_ylim(low - margin, high + margin)


def _places(axes: Axes, sized: Sequence[MethodRow], *, gap: float = 14.0) -> list[tuple[float, float]]:
    """Return each point's place in pixels, moved sideways where points would stand upon each other."""
    places: list[tuple[float, float]] = []
    for row in sized:
        score = row.macro_f1.mean if row.macro_f1 else 0.0
        x, y = axes.transData.transform((row.size_mb or 1.0, score))
        taken = [other for other, _ in places]
        steps = (side * gap * step for step in range(2 * len(sized)) for side in (1, -1))
        place = next(x + step for step in steps if all(abs(x + step - other) >= gap for other in taken))
        places.append((place, float(y)))
    return places


def _draw_point(axes: Axes, row: MethodRow, place: tuple[float, float], colour: str) -> None:
    x = axes.transData.inverted().transform(place)[0]
    interval = row.macro_f1.interval if row.macro_f1 else None
    if interval:
        axes.plot([x, x], [interval.low, interval.high], color=colour, linewidth=1.6, alpha=0.55, zorder=2)
    axes.plot(x, row.macro_f1.mean if row.macro_f1 else 0.0, marker="o", markersize=8, color=colour, zorder=3)


def _label_points(axes: Axes, sized: Sequence[MethodRow], places: Sequence[tuple[float, float]]) -> None:
    """Name every point where its name covers no point, no whisker, no line and no other name."""
    canvas = axes.get_window_extent()
    inside = Box(canvas.x0 + 2, canvas.y0 + 2, canvas.x1 - 2, canvas.y1 - 2)
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in places] + _whiskers(axes, sized, places)
    for row, place in zip(sized, places, strict=True):
        text = axes.text(0, 0, shortened(row.method, 24), transform=axes.transAxes, va="center", color=INK, zorder=4)
        extent = text.get_window_extent()
        box = _free_box(place, (extent.width, extent.height), taken, inside)
        # Kept as a share of the axes, because PNG and SVG differ in pixels to the inch.
        text.set_position(_in_axes(axes, (box.left, (box.bottom + box.top) / 2)))
        taken.append(box)
        _lead(axes, place, box)


def _whiskers(axes: Axes, sized: Sequence[MethodRow], places: Sequence[tuple[float, float]]) -> list[Box]:
    boxes = []
    for row, (x, _) in zip(sized, places, strict=True):
        if row.macro_f1 and row.macro_f1.interval:
            interval = row.macro_f1.interval
            low, high = (axes.transData.transform((1.0, value))[1] for value in (interval.low, interval.high))
            boxes.append(Box(x - 2, low, x + 2, high))
    return boxes


def _free_box(place: tuple[float, float], size: tuple[float, float], taken: Sequence[Box], inside: Box) -> Box:
    """Return the nearest free rectangle beside a point: to its right, else to its left, else higher or lower."""
    x, y = place
    width, height = size
    candidates = [
        Box(left, y + up - height / 2, left + width, y + up + height / 2)
        for distance in range(60)
        for up in (distance * 5.0, -distance * 5.0)
        for side in range(1, 12)
        for left in (x + 10.0 * side, x - 10.0 * side - width)
        if side <= 1 + distance // 2
    ]
    free = (box for box in candidates if box.is_inside(inside) and not any(box.meets(other) for other in taken))
    return next(free, candidates[0])


def _lead(axes: Axes, place: tuple[float, float], box: Box) -> None:
    """Draw a thin line to a name that stands away from its point."""
    x, y = place
    middle = (box.bottom + box.top) / 2
    near = box.left - 2 if box.left > x else box.right + 2 if box.right < x else x
    if abs(middle - y) > 8 or abs(near - x) > 14:
        ends = (_in_axes(axes, place), _in_axes(axes, (near, middle)))
        axes.plot(*zip(*ends, strict=True), transform=axes.transAxes, color=FAINT, linewidth=0.7, zorder=2)


def _in_axes(axes: Axes, place: tuple[float, float]) -> tuple[float, float]:
    """Return a place in pixels as shares of the axes' width and height."""
    x, y = axes.transAxes.inverted().transform(place)
    return float(x), float(y)
