"""What the layers of teachers know, over all seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from distilora.analysis.records import LayerAnalysis, LayerKnowledge, LeftOut
from distilora.report.layer_records import LayerMean, LayerMeans


def layer_means(analyses: Sequence[LayerAnalysis]) -> LayerMeans | None:
    """Return each layer's numbers as means over seeds, or nothing where nobody looked.

    Args:
        analyses: of the teacher of each seed.
    """
    if not analyses:
        return None
    common = [
        one.number for one in analyses[0].layers if all(_layer(analysis, one.number) for analysis in analyses[1:])
    ]
    return LayerMeans(
        accuracy=statistics.fmean(one.accuracy for one in analyses),
        macro_f1=statistics.fmean(one.macro_f1 for one in analyses),
        layers=tuple(_mean(analyses, number) for number in common),
    )


def _layer(analysis: LayerAnalysis, number: int) -> LayerKnowledge | None:
    return next((one for one in analysis.layers if one.number == number), None)


def _mean(analyses: Sequence[LayerAnalysis], number: int) -> LayerMean:
    known = [(analysis, layer) for analysis in analyses if (layer := _layer(analysis, number)) is not None]
    probes = [layer.probes[analysis.pooling] for analysis, layer in known]
    left_out = [layer.left_out for _, layer in known]
    return LayerMean(
        number=number,
        probe_accuracy=statistics.fmean(one.accuracy for one in probes),
        probe_macro_f1=statistics.fmean(one.macro_f1 for one in probes),
        accuracy_lost=_lost([one.accuracy_lost for one in left_out if one], of=left_out),
        macro_f1_lost=_lost([one.macro_f1_lost for one in left_out if one], of=left_out),
    )


def _lost(losses: Sequence[float], *, of: Sequence[LeftOut | None]) -> float | None:
    """Return the mean loss, or nothing unless every teacher was asked."""
    return statistics.fmean(losses) if len(losses) == len(of) else None
