"""The files of a report: drawn, put into words and written whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from distilora.files import write_whole
from distilora.report import plots
from distilora.report.comparison import compare_runs
from distilora.report.document import build_document
from distilora.report.html import to_html
from distilora.report.markdown import to_markdown
from distilora.report.records import Comparison
from distilora.report.tables import to_csv
from distilora.runs import RunRecord

COMPARISON_FILE = "comparison.json"


def write_report(records: Sequence[RunRecord], folder: Path) -> Path:
    """Write ``report.md``, ``report.html``, ``figures/*.svg`` and their numbers; return the HTML's path.

    ``results.csv`` holds the scores of each run, ``comparison.json`` a whole :class:`Comparison`.

    The same records give the same bytes. A reader never sees half a file, and the HTML comes last.

    Args:
        records: the finished runs of one experiment, void ones included.
        folder: where the report goes; made where it is missing. Curves of methods that are gone are removed.

    Raises:
        RunError: there are no runs, or they cannot be compared.
        MissingExtraError: matplotlib is not installed.
    """
    comparison = compare_runs(records)
    curves = _curve_names(comparison)
    figures = draw_figures(comparison, records, curves=curves)
    drawn_curves = {method: name for method, name in curves.items() if name in figures}
    document = build_document(comparison, records, curves=drawn_curves, figures=tuple(figures))
    for name, svg in figures.items():
        write_whole(folder / "figures" / f"{name}.svg", svg)
    for old in (folder / "figures").glob("curves-*.svg"):
        if old.stem not in figures:
            old.unlink()
    write_whole(folder / "results.csv", to_csv(records))
    write_whole(folder / COMPARISON_FILE, comparison.model_dump_json(indent=1) + "\n")
    write_whole(folder / "report.md", to_markdown(document))
    page = folder / "report.html"
    write_whole(page, to_html(document, figures))
    return page


def draw_figures(comparison: Comparison, records: Sequence[RunRecord], *, curves: Mapping[str, str]) -> dict[str, str]:
    """Return every figure that there is something to draw for, as SVG text by name.

    Args:
        comparison: the numbers.
        records: the runs, for their histories.
        curves: name of the figure with the curves, by method.
    """
    drawn: dict[str, str | None] = {
        "scores": plots.score_bars(comparison),
        "differences": plots.teacher_differences(comparison),
        "classes": plots.class_f1_bars(comparison),
        "confusion": plots.confusion_matrices(comparison),
        "calibration": plots.reliability_diagrams(comparison),
        "size": plots.score_against_size(comparison),
    }
    drawn |= {name: plots.method_curves(comparison, records, method) for method, name in curves.items()}
    return {name: svg for name, svg in drawn.items() if svg is not None}


def _curve_names(comparison: Comparison) -> dict[str, str]:
    """Return a file name for each method's curves, without ending; never two alike, whatever methods are called."""
    names: dict[str, str] = {}
    for row in comparison.rows:
        if row.is_baseline:
            continue
        plain = re.sub(r"[^a-z0-9.-]+", "-", row.method.lower()).strip("-.")[:64]
        name = f"curves-{plain}"
        names[row.method] = name if name not in names.values() else f"{name}-{len(names) + 1}"
    return names
