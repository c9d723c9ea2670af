"""Figures of a report as SVG text, each also as PNG on request; matplotlib is imported when one is drawn."""

from __future__ import annotations

from distilora.report.plots.adapting import layer_curves, layer_importance, loss_weights, rank_steps
from distilora.report.plots.calibration import reliability_diagrams
from distilora.report.plots.confusion import confusion_matrices
from distilora.report.plots.curves import method_curves
from distilora.report.plots.frontier import score_against_cost
from distilora.report.plots.groups import class_changes, suite_changes
from distilora.report.plots.layers import layer_scores, layer_similarities
from distilora.report.plots.precision_recall import precision_recall_curves
from distilora.report.plots.robustness import noise_drops
from distilora.report.plots.scores import class_f1_bars, score_bars, teacher_differences

__all__ = [
    "class_changes",
    "class_f1_bars",
    "confusion_matrices",
    "layer_curves",
    "layer_importance",
    "layer_scores",
    "layer_similarities",
    "loss_weights",
    "method_curves",
    "noise_drops",
    "precision_recall_curves",
    "rank_steps",
    "reliability_diagrams",
    "score_against_cost",
    "score_bars",
    "suite_changes",
    "teacher_differences",
]
