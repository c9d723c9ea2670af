"""Figures of a report as SVG text, each also as PNG on request; matplotlib is imported when one is drawn."""

from __future__ import annotations

from distilora.report.plots.calibration import reliability_diagrams
from distilora.report.plots.confusion import confusion_matrices
from distilora.report.plots.curves import method_curves
from distilora.report.plots.scores import class_f1_bars, score_bars, teacher_differences
from distilora.report.plots.size import score_against_size

__all__ = [
    "class_f1_bars",
    "confusion_matrices",
    "method_curves",
    "reliability_diagrams",
    "score_against_size",
    "score_bars",
    "teacher_differences",
]
