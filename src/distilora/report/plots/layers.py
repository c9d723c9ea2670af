"""What each layer of a teacher knows, what is lost without it, and how alike layers are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distilora.analysis.records import LayerAnalysis, LayerKnowledge, ModelSimilarity
from distilora.models.similarity import Pooling, Similarities
from distilora.report.plots.style import FAINT, INK, PALETTE, WIDTH, look, new_figure, rendered, tidy
from distilora.report.wording import MISSING, number, points, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POOLING_WORDS: dict[Pooling, str] = {"first": "first token", "mean": "mean over tokens"}
# Odd and even as in the other figures, where the teacher has the first colour; the embeddings belong to neither.
_ODD, _EVEN, _NEITHER = (
    (PALETTE[1], "o", "taken by odd"),
    (PALETTE[2], "s", "taken by even"),
    (FAINT, "D", "embeddings"),
)
_MOST_NUMBERED = 9
"""Largest number of layers, embeddings included, for which a heat map's cells hold their values."""
_MOST_NAMED = 12
"""Largest depth of which every layer is named on an axis."""
_LARGEST_CELL = 0.36
"""In inches."""
_DARK = 0.6
"""Similarity above which a cell is so dark that its value is written in white."""
_Map = tuple[str, ModelSimilarity | None, Similarities]
"""Name of a model, what else is known of it where it is not the teacher, and the values."""


def layer_scores(analysis: LayerAnalysis, *, pooling: Pooling | None = None, png: Path | None = None) -> str:
    """Return, as SVG, the macro-F1 of each layer's probe, and what the teacher loses without that layer.

    Both with 95 % intervals; layers that ``odd`` takes are round, those that ``even`` takes square.

    Args:
        analysis: of one teacher.
        pooling: of the probes; absent: as the teacher's own classifier reads its last layer.
        png: also write the figure here.
    """
    chosen = pooling or analysis.pooling
    with look():
        figure = new_figure(3.4)
        probes, lost = figure.subplots(1, 2)
        _draw_probes(probes, analysis, chosen)
        _draw_lost(lost, analysis)
        _name_marks(figure, analysis)
        return rendered(figure, png=png)


def _draw_probes(axes: Axes, analysis: LayerAnalysis, pooling: Pooling) -> None:
    scores = [(layer.number, layer.probes[pooling].macro_f1) for layer in analysis.layers]
    axes.plot(*zip(*scores, strict=True), color=FAINT, linewidth=1.0, zorder=1)
    for layer in analysis.layers:
        probe = layer.probes[pooling]
        interval = (probe.macro_f1_interval.low, probe.macro_f1_interval.high)
        _draw_point(axes, analysis, layer, probe.macro_f1, interval)
    axes.axhline(analysis.macro_f1, color=INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    note = f"whole teacher {number(analysis.macro_f1)}"
    axes.annotate(note, (0.02, analysis.macro_f1), xycoords=("axes fraction", "data"), xytext=(0, 4),
                  textcoords="offset points", color=INK, fontsize=8.5)  # fmt: skip
    axes.set_title(f"macro-F1 of a linear probe, {_POOLING_WORDS[pooling]}", fontweight="normal")
    _finish(axes, [layer.number for layer in analysis.layers])
    axes.margins(y=0.12)


def _draw_lost(axes: Axes, analysis: LayerAnalysis) -> None:
    axes.axhline(0, color=INK, linewidth=1.0)
    axes.set_title("points of macro-F1 lost without the layer", fontweight="normal")
    known = [(layer, layer.left_out) for layer in analysis.layers if layer.left_out is not None]
    for layer, lost in known:
        interval = lost.macro_f1_lost_interval
        _draw_point(axes, analysis, layer, lost.macro_f1_lost, (interval.low, interval.high))
    if not known:
        axes.set_yticks([])
        axes.text(0.5, 0.5, MISSING, transform=axes.transAxes, ha="center", va="bottom", color=FAINT)
    axes.yaxis.set_major_formatter(lambda value, _: points(value, signed=False) if value >= 0 else points(value))
    axes.margins(y=0.12)
    _finish(axes, [layer.number for layer in analysis.layers if layer.number])


def _draw_point(
    axes: Axes, analysis: LayerAnalysis, layer: LayerKnowledge, value: float, interval: tuple[float, float]
) -> None:
    colour, marker, _ = _mark(analysis, layer.number)
    axes.plot([layer.number] * 2, interval, color=colour, linewidth=2.0, alpha=0.6, zorder=2)
    axes.plot(layer.number, value, marker=marker, markersize=6.5, color=colour, zorder=3)


def _mark(analysis: LayerAnalysis, layer: int) -> tuple[str, str, str]:
    """Return colour, marker and meaning of a layer's point."""
    return _ODD if layer in analysis.odd else _EVEN if layer in analysis.even else _NEITHER


def _name_marks(figure: Figure, analysis: LayerAnalysis) -> None:
    from matplotlib.lines import Line2D

    used = dict.fromkeys(_mark(analysis, layer.number) for layer in analysis.layers)
    handles = [Line2D([], [], color=colour, marker=marker, linestyle="none") for colour, marker, _ in used]
    figure.legend(handles, [meaning for *_, meaning in used], loc="outside upper left", ncols=3, handlelength=1)


def _finish(axes: Axes, numbers: Sequence[int]) -> None:
    step = math.ceil(len(numbers) / (_MOST_NAMED + 1))
    axes.set_xticks(numbers[::step], [str(layer) if layer else "0" for layer in numbers[::step]])
    axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    axes.set_xlabel("teacher layer, 0: embeddings" if numbers[0] == 0 else "teacher layer")
    tidy(axes, grid="y")


def layer_similarities(analysis: LayerAnalysis, *, pooling: Pooling = "mean", png: Path | None = None) -> str:
    """Return, as SVG, heat maps of linear CKA: the teacher's layers with each other, and each other model's with them.

    Where vectors are the same for all rows, as the first token's embedding, the cell is empty.

    Args:
        analysis: of one teacher.
        pooling: of the vectors that are compared.
        png: also write the figure here.
    """
    maps: list[_Map] = [(analysis.method, None, analysis.cka[pooling])]
    maps += [(model.method, model, model.cka[pooling]) for model in analysis.compared]
    columns = 2 if len(maps) in (1, 2, 4) or analysis.depth > _MOST_NAMED else 3
    lines = math.ceil(len(maps) / columns)
    # Beside a map stand the names of its rows.
    cell = min(_LARGEST_CELL, (WIDTH / columns - 1.0) / (analysis.depth + 1))
    heights = [max(len(cka) for *_, cka in maps[at : at + columns]) for at in range(0, len(maps), columns)]
    with look():
        figure = new_figure(cell * sum(heights) + 0.9 * lines + 0.1)
        grid = figure.subplots(lines, columns, squeeze=False, height_ratios=heights)
        for place, axes in enumerate(grid.flat):
            if place < len(maps):
                _draw_map(axes, *maps[place], room=heights[place // columns])
            else:
                axes.set_visible(False)
        return rendered(figure, png=png)


def _draw_map(axes: Axes, method: str, model: ModelSimilarity | None, cka: Similarities, *, room: int) -> None:
    """Draw one map; ``room`` is how many rows its neighbours have, so that all cells of a line are of one size."""
    values = np.array([[np.nan if value is None else value for value in row] for row in cka])
    axes.pcolormesh(values, cmap="Blues", vmin=0, vmax=1.1, edgecolors="white", linewidth=0.8)
    axes.set_ylim(room, 0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_aspect("equal", anchor="N")
    if max(values.shape) <= _MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            text = MISSING if np.isnan(value) else number(float(value), 2)
            colour = "white" if value > _DARK else INK
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour)
    column_names = [str(place) for place in range(values.shape[1])]
    axes.set_xticks(*_thinned(column_names))
    axes.set_yticks(*_thinned(_row_names(len(values), model)))
    axes.set_title(shortened(method, 24))
    axes.set_ylabel("layer", y=1 - len(values) / (2 * room))
    axes.set_xlabel("layer" if model is None else "layer of the teacher")
    axes.tick_params(length=0, colors=INK, labelsize=7.5)
    axes.spines[:].set_visible(False)


def _thinned(names: Sequence[str]) -> tuple[list[float], list[str]]:
    """Return the middles of cells and their names: of all, or of so many that names stand apart."""
    step = math.ceil(len(names) / (_MOST_NAMED + 1))
    return [place + 0.5 for place in range(0, len(names), step)], list(names[::step])


def _row_names(count: int, model: ModelSimilarity | None) -> list[str]:
    """Return the layers' numbers, a student's with the teacher layer that each came from."""
    if model is None or model.layers is None:
        return [str(place) for place in range(count)]
    return ["0", *(f"{place} (was {layer})" for place, layer in enumerate(model.layers, start=1))]
