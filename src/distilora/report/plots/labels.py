"""Names beside points, placed so that no name covers anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distilora.report.plots.style import FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Place = tuple[float, float]
"""On the canvas, in pixels."""


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


@dataclass(frozen=True)
class Label:
    """A name and the point that it belongs to."""

    text: str
    place: Place
    bold: bool = False


def label_points(axes: Axes, labels: Sequence[Label], taken: Sequence[Box]) -> None:
    """Write every name where it covers no other name and nothing of ``taken``, with a thin line where it is far away.

    Args:
        axes: with its final limits, drawn once so that places in pixels hold.
        labels: of all points.
        taken: what no name may cover.
    """
    canvas = axes.get_window_extent()
    inside = Box(canvas.x0 + 2, canvas.y0 + 2, canvas.x1 - 2, canvas.y1 - 2)
    occupied = list(taken)
    for label in labels:
        weight = "bold" if label.bold else "normal"
        text = axes.text(
            0, 0, label.text, transform=axes.transAxes, va="center", color=INK, fontweight=weight, zorder=4
        )
        extent = text.get_window_extent()
        box = _free_box(label.place, (extent.width, extent.height), occupied, inside)
        # Kept as a share of the axes, because PNG and SVG differ in pixels to the inch.
        text.set_position(_in_axes(axes, (box.left, (box.bottom + box.top) / 2)))
        occupied.append(box)
        _lead(axes, label.place, box)


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
