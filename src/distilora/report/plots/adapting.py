"""What adapted in the training of one method: loss weights, importance of layers, ranks, the score after each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilora.report.plots.histories import (
    MOST_POINTS,
    Curve,
    Value,
    curve,
    mean_curve,
    term_colours,
    thinned,
    valid_runs,
)
from distilora.report.plots.style import FAINT, INK, look, method_colours, new_figure, rendered, tidy
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import number, shortened
from distilora.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOG_FROM = 20.0
"""Weights that are so many times apart stand on a logarithmic scale."""
_MOST_VALUES = 12
"""Layers above which bars have no room for their values, and axes none for each name."""
_FAINT_SEED: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.3}
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (7, 1.5, 1.2, 1.5)), (0, (3, 1.2)))


def loss_weights(records: Sequence[RunRecord], row: MethodRow, *, png: Path | None = None) -> str | None:
    """Return, as SVG, what each loss term was multiplied by over the steps: the mean of the seeds, each seed faint.

    Args:
        records: all runs; void ones are left out.
        row: of the method.
        png: also write the figure here.

    Returns:
        Nothing where the weights held still.
    """
    terms = [weight.term for weight in row.adapted.weights]
    runs = valid_runs(records, row.method)
    if not terms or not runs:
        return None
    colours = term_colours(terms)
    with look():
        figure = new_figure(3.1)
        axes = figure.subplots()
        for term in terms:
            _draw_seeds(axes, _curves(runs, _weight(term), along="step"), colour=colours[term], label=term)
        values = [value for term in terms for one in _curves(runs, _weight(term), along="step") for _, value in one]
        _scale_weights(axes, values)
        axes.set_xlabel("step")
        axes.set_ylabel("weight of the loss term")
        _finish(axes, key=True)
        return rendered(figure, png=png)


def _weight(term: str) -> Value:
    return lambda entry: entry.weights.get(term)


def _scale_weights(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOG_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda *_: "")
    else:
        axes.set_ylim(min(0.0, low), 1.06 * high if high > 0 else 1.0)


def layer_importance(comparison: Comparison, row: MethodRow, *, png: Path | None = None) -> str | None:
    """Return, as SVG, a bar for how much each layer counted in the end, with its standard deviation over seeds.

    Args:
        comparison: for the method's colour.
        row: of the method.
        png: also write the figure here.

    Returns:
        Nothing where all layers counted the same.
    """
    found = row.adapted.importance
    if not found:
        return None
    colour = method_colours(comparison)[row.method]
    with look():
        figure = new_figure(2.9)
        axes = figure.subplots()
        places = range(1, len(found) + 1)
        axes.bar(places, [one.mean for one in found], width=0.62, color=colour)
        axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        for place, one in zip(places, found, strict=True):
            reach = one.sd or 0.0
            axes.plot([place, place], [one.mean - reach, one.mean + reach], color=INK, linewidth=1.5)
            if len(found) <= _MOST_VALUES:
                axes.annotate(number(one.mean, 2), (place, one.mean + reach), xytext=(0, 4), ha="center",
                              textcoords="offset points", color=INK)  # fmt: skip
        axes.set_ylim(0, 1.18 * max(1.0, *(one.mean + (one.sd or 0.0) for one in found)))
        axes.set_xlim(0.4, len(found) + 0.6)
        names = layer_names(row, len(found))
        step = math.ceil(len(found) / _MOST_VALUES)
        axes.set_xticks(list(places)[::step], names[::step], color=INK)
        axes.set_xlabel("layer")
        axes.set_ylabel("weight; 1 on average")
        _finish(axes)
        return rendered(figure, png=png)


def layer_names(row: MethodRow, count: int) -> list[str]:
    """Return the numbers of a model's layers, each with that of the layer it was made of where some were left out.

    Args:
        row: of the method.
        count: of its layers.
    """
    if row.layers is None or len(row.layers) != count:
        return [str(place) for place in range(1, count + 1)]
    return [f"{place} (was {layer})" for place, layer in enumerate(row.layers, start=1)]


def rank_steps(
    comparison: Comparison, records: Sequence[RunRecord], row: MethodRow, *, png: Path | None = None
) -> str | None:
    """Return, as SVG, the rank of the adapters over the steps, a stair a seed; nothing where it never changed.

    Args:
        comparison: for the method's colour.
        records: all runs, for how long each was trained.
        row: of the method.
        png: also write the figure here.
    """
    runs = valid_runs(records, row.method)
    if not row.adapted.ranks or not runs:
        return None
    colour = method_colours(comparison)[row.method]
    with look():
        figure = new_figure(2.6)
        axes = figure.subplots()
        for index, run in enumerate(runs):
            style = {"linestyle": _DASHES[index % len(_DASHES)], "linewidth": 1.6, "alpha": 0.8}
            stair = _stair(row, run)
            axes.step(*zip(*stair, strict=True), where="post", color=colour, label=f"seed {run.result.seed}", **style)
        axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
        axes.set_xlabel("step")
        axes.set_ylabel("rank")
        _finish(axes, key=True)
        return rendered(figure, png=png)


def _stair(row: MethodRow, run: RunRecord) -> Curve:
    """Return where a run's rank changed, and where its training ended; of very many changes some."""
    steps: Curve = [(one.step, one.rank) for one in row.adapted.ranks if one.seed == run.result.seed]
    kept = steps[:: math.ceil(len(steps) / MOST_POINTS)]
    return [*kept, (max(entry.step for entry in run.history), steps[-1][1])]


def layer_curves(records: Sequence[RunRecord], row: MethodRow, *, png: Path | None = None) -> str | None:
    """Return, as SVG, macro-F1 on validation rows after each layer over the epochs: the mean, each seed faint.

    Args:
        records: all runs; void ones are left out.
        row: of the method.
        png: also write the figure here.

    Returns:
        Nothing where no layer by itself was asked.
    """
    runs, layers = valid_runs(records, row.method), len(row.adapted.layer_macro_f1)
    if not layers or not runs:
        return None
    from matplotlib import colormaps

    with look():
        figure = new_figure(3.3)
        axes = figure.subplots()
        for index, name in reversed(list(enumerate(layer_names(row, layers)))):
            shade = colormaps["viridis"](0.9 * (1 - index / max(1, layers - 1)) if layers > 1 else 0.0)
            _draw_seeds(axes, _curves(runs, _after(index)), colour=shade, label=f"after layer {name}", mark="o")
        axes.set_xlabel("epoch")
        axes.set_ylabel("macro-F1 on validation rows")
        _whole_epochs(axes)
        _finish(axes, key=True)
        return rendered(figure, png=png)


def _after(index: int) -> Value:
    return lambda entry: entry.layer_macro_f1[index] if index < len(entry.layer_macro_f1) else None


def _curves(runs: Sequence[RunRecord], value: Value, *, along: Any = None) -> list[Curve]:
    """Return the line of each run: over the steps of training, or over the epochs on validation rows."""
    part: Any = "train" if along == "step" else "validation"
    found = [curve(run.history, part, value, along=along or "epoch") for run in runs]
    return [points for points in found if points]


def _draw_seeds(axes: Axes, curves: Sequence[Curve], *, colour: Any, label: str, mark: str | None = None) -> None:
    mean = thinned(mean_curve(curves))
    style: dict[str, Any] = {"color": colour, "linewidth": 1.7, "marker": mark, "markersize": 3.5}
    axes.plot(*(zip(*mean, strict=True) if mean else ([], [])), label=shortened(label, 32).lstrip("_"), **style)
    for points in curves if len(curves) > 1 else []:
        axes.plot(*zip(*thinned(points), strict=True), color=colour, **_FAINT_SEED)


def _whole_epochs(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _finish(axes: Axes, *, key: bool = False) -> None:
    tidy(axes, grid="y")
    if key:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=2.2, labelspacing=0.6, labelcolor=INK)
    axes.yaxis.label.set_color(FAINT)
