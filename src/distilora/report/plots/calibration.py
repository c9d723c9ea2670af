"""How often each method is right against how sure it is, before and after its temperature."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distilora.evaluation.calibration import Calibration, ReliabilityBin
from distilora.evaluation.records import Interval
from distilora.report.plots.style import FAINT, INK, look, method_colours, new_figure, rendered, tidy
from distilora.report.records import MAJORITY, Comparison, MethodRow, Score
from distilora.report.wording import number, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by dash and mark, not by colour.
_BEFORE: dict[str, Any] = {"linestyle": (0, (3, 2)), "linewidth": 1.0, "marker": "o", "markersize": 3.8}
_AFTER: dict[str, Any] = {"linestyle": "-", "linewidth": 1.5, "marker": "o", "markersize": 3.6}
_HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.9}
_DIAGONAL: dict[str, Any] = {"color": FAINT, "linewidth": 1.0, "linestyle": (0, (1, 1.6))}


def reliability_diagrams(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, a reliability diagram for each method, before and after; nothing without kept logits.

    The majority class is left out: it is equally sure of every row. Intervals are drawn of the line that is shown last,
    so that one set of them stands in a panel.
    """
    rows = [row for row in comparison.scored if row.calibration and row.method != MAJORITY]
    if not rows:
        return None
    colours = method_colours(comparison)
    columns = 4 if len(rows) % 4 in {0, 3} and len(rows) > 3 else 3
    lines = math.ceil(len(rows) / columns)
    with look():
        figure = new_figure((8.6 / columns + 0.2) * lines + 0.7)
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for index, axes in enumerate(grid.flat):
            if index < len(rows):
                _diagram(axes, rows[index], colours[rows[index].method], low=_lowest(rows))
                axes.xaxis.set_tick_params(labelbottom=True)
                axes.set_xlabel("probability of its answer" if index + columns >= len(rows) else "")
                axes.set_ylabel("share right" if index % columns == 0 else "")
            else:
                axes.set_visible(False)
        _name_lines(figure, rows)
        return rendered(figure, png=png)


def _lowest(rows: list[MethodRow]) -> float:
    """Return the tenth at or below everything that is drawn, so that all panels share one scale."""
    bins = [part for row in rows for one in (*row.calibration, *row.calibrated) for part in one.bins]
    least = min(min(part.confidence, part.interval.low) for part in bins)
    return math.floor(10 * least) / 10


def _diagram(axes: Axes, row: MethodRow, colour: str, *, low: float) -> None:
    axes.plot([low, 1], [low, 1], **_DIAGONAL)
    before, after = merged_bins(row.calibration), merged_bins(row.calibrated)
    shown = after or before
    lows, highs = ([getattr(part.interval, end) for part in shown] for end in ("low", "high"))
    axes.vlines([part.confidence for part in shown], lows, highs, color=colour, linewidth=0.9, alpha=0.4)
    for bins, style in ((before, _BEFORE | _HOLLOW), (after, _AFTER)):
        axes.plot([part.confidence for part in bins], [part.accuracy for part in bins], color=colour, **style)
    axes.set_title(shortened(row.method, 20))
    axes.text(0.04, 0.95, _errors(row), transform=axes.transAxes, va="top")
    axes.set_xlim(low, 1.02)
    axes.set_ylim(low, 1.02)
    ticks = [tenth / 10 for tenth in range(0, 11, 2) if tenth / 10 >= low]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_box_aspect(1)
    tidy(axes, grid="both")


def _errors(row: MethodRow) -> str:
    before, after = _mean(row.expected_calibration_error), _mean(row.calibrated_error)
    return f"error {before} → {after}" if row.calibrated else f"error {before}"


def _mean(score: Score | None) -> str:
    return number(score.mean if score else None)


def merged_bins(calibrations: Sequence[Calibration]) -> list[ReliabilityBin]:
    """Return one line for all seeds: bins of like confidence are merged, as many as the seed with most bins has.

    Each merged bin holds means over rows, of the ends of intervals too: it is about as wide as those of one seed,
    because the seeds were asked the same rows.

    Example:
        >>> one = ReliabilityBin(rows=10, confidence=0.6, accuracy=0.5, interval=Interval(low=0.2, high=0.8))
        >>> other = one.model_copy(update={"rows": 30, "accuracy": 0.7})
        >>> calibration = Calibration(temperature=1, expected_calibration_error=0.1, brier_score=0.4, bins=(one,))
        >>> merged = merged_bins([calibration, calibration.model_copy(update={"bins": (other,)})])
        >>> [(part.rows, round(part.accuracy, 2)) for part in merged]
        [(40, 0.65)]
    """
    every = sorted((part for one in calibrations for part in one.bins), key=lambda part: part.confidence)
    groups = max((len(one.bins) for one in calibrations), default=0)
    bounds = [len(every) * index // groups for index in range(groups + 1)] if groups else []
    return [_merged(every[low:high]) for low, high in itertools.pairwise(bounds)]


def _merged(bins: Sequence[ReliabilityBin]) -> ReliabilityBin:
    values = np.array([(part.confidence, part.accuracy, part.interval.low, part.interval.high) for part in bins])
    confidence, accuracy, low, high = np.average(values, axis=0, weights=[part.rows for part in bins]).tolist()
    rows = sum(part.rows for part in bins)
    return ReliabilityBin(rows=rows, confidence=confidence, accuracy=accuracy, interval=Interval(low=low, high=high))


def _name_lines(figure: Figure, rows: Sequence[MethodRow]) -> None:
    from matplotlib.lines import Line2D

    named = {"right as often as it says": _DIAGONAL}
    has_after = any(row.calibrated for row in rows)
    named["before the temperature" if has_after else "as trained"] = {"color": INK} | _BEFORE | _HOLLOW
    if has_after:
        named["after it"] = {"color": INK} | _AFTER
    handles = [Line2D([], [], **style) for style in named.values()]
    figure.legend(handles, list(named), loc="outside upper left", ncols=3, handlelength=2.6)
