"""What each method costs beside the teacher."""

from __future__ import annotations

from distilora.evaluation.costs import ExperimentCosts, MethodCosts
from distilora.report.records import CostRatio

TIMED_TOKENS = 64
"""Length of the text whose time says what is cheap, in tokens."""


def cost_ratios(costs: ExperimentCosts | None, teacher: str | None) -> dict[str, CostRatio]:
    """Return size and time of each method in those of the teacher, by method; nothing where that was not measured."""
    reference = costs.of(teacher) if costs and teacher else None
    if costs is None or reference is None:
        return {}
    others = (one for one in costs.methods if one.method != reference.method)
    return {
        one.method: CostRatio(size=one.size_bytes / reference.size_bytes, time=_time_ratio(one, reference))
        for one in others
    }


def timed_ms(one: MethodCosts) -> float | None:
    """Return the median time of the timed text, or nothing where it was not timed."""
    at = one.latency_at(TIMED_TOKENS)
    return at.p50_ms if at else None


def _time_ratio(one: MethodCosts, reference: MethodCosts) -> float | None:
    mine, theirs = timed_ms(one), timed_ms(reference)
    # Times of a bundle and of a trained run do not compare.
    return None if mine is None or not theirs or one.model != reference.model else mine / theirs
