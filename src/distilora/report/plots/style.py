"""The look that every figure shares: colours, type, and how a figure becomes SVG or PNG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilora.config import PRESETS
from distilora.errors import MissingExtraError
from distilora.report.records import BASELINES, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0
"""Width of every figure, in inches of 72 points."""
INK, FAINT, GRID, PAPER = "#1f2430", "#667085", "#e4e7ec", "#ffffff"
BASELINE_GREYS: Mapping[str, str] = {"majority": "#b9bec8", "tfidf": "#8b93a1"}
# Okabe & Ito (2008) without black and yellow, https://jfly.uni-koeln.de/color/, then four of Paul Tol's "muted".
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#882255", "#999933", "#332288", "#6B4C2A"),
    # Beyond ten, hues between and darker or paler ones; marks, dashes and names tell them apart too.
    *("#117733", "#B4464B", "#7A5195", "#2F7F86", "#A07C00", "#5B8DB8"),
    *("#D37295", "#4E6B1F", "#8C564B", "#1B4F72", "#C77C48", "#6F7C12"),
    *("#9467BD", "#3D9970", "#B0306A", "#556270", "#7FA83B", "#A6611A"),
    *("#3F51B5", "#00838F"),
)
_SETTINGS: Mapping[str, Any] = {
    "figure.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
    # Widths are measured in DejaVu Sans; Verdana is as wide, and the others are narrower, so nothing runs over.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Geneva", "Arial"],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": "#98a2b3",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "distilora",
}


@contextmanager
def look() -> Iterator[None]:
    """Hold the shared look while a figure is drawn and written.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError("matplotlib", "train") from None
    with mpl.rc_context(), warnings.catch_warnings():
        # Names in scripts that DejaVu lacks are drawn by the reader's own fonts in SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        yield


def new_figure(height: float) -> Figure:
    """Return an empty figure of the shared width and the given height in inches, outside any window system."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height))


def rendered(figure: Figure, *, png: Path | None = None) -> str:
    """Return a figure as SVG, the same bytes each time, and save it as PNG too where a path is given."""
    if png is not None:
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE)


def method_colours(comparison: Comparison) -> dict[str, str]:
    """Return each method's colour: presets in their fixed order, then own methods by name; baselines are grey.

    The order does not depend on scores, so a method keeps its colour when a report is made again. Methods of the family
    count even where they are not shown, so that it has the same colour on a page of its own.
    """
    names = {*comparison.family, *(row.method for row in comparison.methods)} - BASELINES.keys()
    presets = [name for name in PRESETS if name in names]
    own = sorted(names - PRESETS.keys())
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate((*presets, *own))}
    baselines = {row.method: BASELINE_GREYS.get(row.method, FAINT) for row in comparison.methods if row.is_baseline}
    return colours | baselines


def tidy(axes: Axes, *, grid: str) -> None:
    """Show only grid lines that help to read values off, and no tick marks.

    Args:
        axes: what is tidied.
        grid: which grid lines to keep: ``x``, ``y`` or ``both``.
    """
    if grid in {"x", "both"}:
        axes.xaxis.grid(visible=True)
    if grid in {"y", "both"}:
        axes.yaxis.grid(visible=True)
    axes.tick_params(length=0)


def label_rows(axes: Axes, names: Sequence[str], *, colours: Sequence[str]) -> None:
    """Name the rows of a horizontal chart, the first at the top, each in its colour's dark ink."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    for tick, colour in zip(axes.get_yticklabels(), colours, strict=True):
        tick.set_color(colour)
