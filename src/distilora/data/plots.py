"""The histogram of text lengths as a picture."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distilora.data.inspection import Inspection, LengthHistogram
from distilora.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
_MAX_PANELS = 9
_PANELS_A_ROW = 3
_BAR_COLOUR = "#3b6ea5"
_MARK_COLOUR = "#b5392f"


def plot_lengths(inspection: Inspection, path: Path) -> None:
    """Write a histogram of text lengths, a panel for each class on common axes, as SVG or PNG.

    Heights are shares of the class, so that classes of different sizes can be compared. The longest input is marked.
    Of more than nine classes the nine largest are drawn. The file is written whole or not at all.

    Args:
        inspection: what :func:`distilora.data.inspection.inspect_comments` returned.
        path: where to write; ends in .svg or .png.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError: no row can be drawn, or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: a plot must end in {' or '.join(SUFFIXES)}")
    if inspection.histogram is None:
        raise DataError(f"{inspection.source}: no row can be used, so there are no lengths to plot")
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError("matplotlib", "train") from None
    # A fixed salt and no date: the same data give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "distilora", "font.size": 10}):
        _write(_figure(inspection, inspection.histogram), path)


def _figure(inspection: Inspection, histogram: LengthHistogram) -> Figure:
    from matplotlib.figure import Figure

    largest = sorted(inspection.classes, key=lambda one: -one.rows)[:_MAX_PANELS]
    classes = [one for one in inspection.classes if one in largest]
    columns = min(len(classes), _PANELS_A_ROW)
    rows = math.ceil(len(classes) / columns)
    figure = Figure(figsize=(1.2 + 3.2 * columns, 0.9 + 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(panels.flat):
        if index < len(classes):
            _draw(axes, histogram, name=classes[index].name, rows=classes[index].rows)
        else:
            axes.set_axis_off()
    figure.supxlabel(f"length in {histogram.unit} (last bar: {histogram.edges[-2]} and more)", fontsize=10)
    figure.supylabel("share of the class in %", fontsize=10)
    figure.suptitle(_literal(Path(inspection.source).name), x=0.02, ha="left", fontsize=11)
    marks = panels[0, 0].get_legend_handles_labels()
    if marks[0]:
        figure.legend(*marks, loc="outside upper right", frameon=False, fontsize=9)
    return figure


def _draw(axes: Axes, histogram: LengthHistogram, *, name: str, rows: int) -> None:
    edges = np.array(histogram.edges)
    shares = 100 * np.array(histogram.counts[name]) / rows
    axes.bar(
        edges[:-1], shares, width=np.diff(edges), align="edge", color=_BAR_COLOUR, edgecolor="white", linewidth=0.5
    )
    axes.set_title(_literal(f"{_short(name)} ({rows:,} rows)"), fontsize=10)
    axes.set_xlim(0, edges[-1])
    axes.spines[["top", "right"]].set_visible(False)
    limit = histogram.max_length
    if limit is not None and limit <= edges[-1]:
        axes.axvline(limit, color=_MARK_COLOUR, linewidth=1.2, linestyle="--", label=f"longest input: {limit} tokens")


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "…"


def _literal(text: str) -> str:
    """Return ``text`` so that matplotlib takes no dollar sign in it for a formula."""
    return text.replace("$", r"\$")


def _write(figure: Figure, path: Path) -> None:
    """Write beside the file first, then put it in place."""
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
        temporary.replace(path)
    except OSError as failure:
        raise DataError(f"{path}: cannot be written: {failure.strerror or failure}") from None
    finally:
        with contextlib.suppress(OSError):  # it was put in place, or never written
            temporary.unlink()
