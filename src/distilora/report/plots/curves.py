"""Loss terms and validation scores over the epochs of one method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distilora.report.plots.histories import curve, term_colours, thinned
from distilora.report.plots.style import INK, look, method_colours, new_figure, rendered, tidy
from distilora.report.records import Comparison
from distilora.report.wording import shortened
from distilora.runs import HistoryEntry, RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def method_curves(
    comparison: Comparison, records: Sequence[RunRecord], method: str, *, png: Path | None = None
) -> str | None:
    """Return, as SVG, a method's loss terms in training and its scores on validation rows, a thin line a seed.

    Args:
        comparison: of all records; fixes colours and the common scale of the scores.
        records: the runs whose histories are drawn; void ones are left out.
        method: which method.
        png: also write the figure here.

    Returns:
        Nothing where no valid run of the method has a history.
    """
    valid = [record for record in records if record.result.void is None and record.history]
    runs = [record for record in valid if record.result.method == method]
    if not runs:
        return None
    with look():
        figure = new_figure(3.0)
        losses, scores = figure.subplots(1, 2, sharex=True)
        _draw_losses(losses, runs)
        _draw_scores(scores, runs, colour=method_colours(comparison)[method])
        losses.set_xlim(0, 1.03 * max(entry.epoch for run in runs for entry in run.history) or 1)  # Shared by both.
        scores.set_ylim(*_score_range(valid))
        figure.suptitle(shortened(method, 48), x=0.008, ha="left", fontsize=11, fontweight="bold")
        return rendered(figure, png=png)


def _draw_losses(axes: Axes, runs: Sequence[RunRecord]) -> None:
    terms = dict.fromkeys(term for run in runs for entry in run.history for term in entry.losses if term != "total")
    colours = term_colours(terms)
    for term in terms:
        _draw(axes, runs, "train", _loss(term), color=colours[term], label=term)
    if len(terms) != 1:
        _draw(axes, runs, "train", _loss("total"), color=INK, label="total")
    style: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 2)), "marker": "o", "markersize": 3.5}
    _draw(axes, runs, "validation", _loss("total"), label="total on validation rows", **style)
    axes.set_title("loss", fontweight="normal")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    _finish(axes)


def _loss(term: str) -> Callable[[HistoryEntry], float | None]:
    return lambda entry: entry.losses.get(term)


def _draw_scores(axes: Axes, runs: Sequence[RunRecord], *, colour: str) -> None:
    dots: dict[str, Any] = {"color": colour, "linestyle": (0, (1, 1.5)), "marker": "s", "markersize": 3, "alpha": 0.75}
    _draw(axes, runs, "validation", lambda entry: entry.macro_f1, label="macro-F1", color=colour, marker="o", ms=4)
    _draw(axes, runs, "validation", lambda entry: entry.accuracy, label="accuracy", **dots)
    kept = [point for run in runs if (point := _kept_point(run)) is not None]
    if kept:
        ring: dict[str, Any] = {"marker": "o", "ms": 10, "mfc": "none", "mec": INK, "mew": 1.0, "linestyle": "none"}
        axes.plot(*zip(*kept, strict=True), label="epoch that was kept", **ring)
    axes.set_title("score on validation rows", fontweight="normal")
    _finish(axes)


def _draw(
    axes: Axes,
    runs: Sequence[RunRecord],
    part: Literal["train", "validation"],
    value: Callable[[HistoryEntry], float | None],
    *,
    label: str,
    **style: Any,
) -> None:
    """Draw one measure of every seed alike; only the first seed has the label, so that the key shows it once."""
    curves = [points for run in runs if (points := curve(run.history, part, value))]
    for index, points in enumerate(curves):
        name = shortened(label, 26).lstrip("_") if index == 0 else "_"
        axes.plot(*zip(*thinned(points), strict=True), **{"linewidth": 1.1, **style}, label=name)


def _kept_point(run: RunRecord) -> tuple[float, float] | None:
    """Return epoch and macro-F1 of the model that was kept."""
    at = [entry for entry in run.history if entry.part == "validation" and entry.macro_f1 is not None]
    kept = [entry for entry in at if round(entry.epoch) == run.result.best_epoch]
    return (kept[-1].epoch, kept[-1].macro_f1 or 0.0) if kept else None


def _score_range(valid: Sequence[RunRecord]) -> tuple[float, float]:
    """Return limits that hold every method's validation scores, so that figures can be compared."""
    entries = [entry for run in valid for entry in run.history if entry.part == "validation"]
    scores = [score for entry in entries for score in (entry.macro_f1, entry.accuracy) if score is not None]
    if not scores:
        return 0.0, 1.0
    margin = 0.08 * (max(scores) - min(scores)) + 0.01
    return max(0.0, min(scores) - margin), min(1.02, max(scores) + margin)


def _finish(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, grid="y")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.2), ncols=3, handlelength=1.8, columnspacing=1.2)
