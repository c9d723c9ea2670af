"""How losses and validation scores went in training."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.report import plots
from distilora.report.blocks import Section, figure
from distilora.report.records import Comparison
from distilora.report.wording import printable
from distilora.runs import RunRecord


def training_section(comparison: Comparison, records: Sequence[RunRecord], method: str) -> Section:
    """Return the curves of one method; empty where it was not trained here.

    Args:
        comparison: of all methods: their curves share one scale.
        records: all runs.
        method: which method.
    """
    shown = printable(method)
    curves = figure(
        "curves",
        plots.method_curves(comparison, records, method),
        alternative=f"Loss terms in training, and loss, macro-F1 and accuracy on validation rows, of {shown}.",
        caption=f"{shown}: each loss term by itself, unweighted; “total” is their weighted sum. One line a seed.",
    )
    return Section("curves", "Losses and validation scores in training", curves)
