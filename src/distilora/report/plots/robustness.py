"""What each kind of noise costs each method."""

from __future__ import annotations

from pathlib import Path

from distilora.report.plots.intervals import Spread, SpreadGroup, spread_figure
from distilora.report.records import Comparison


def noise_drops(comparison: Comparison, *, png: Path | None = None) -> str | None:
    """Return, as SVG, the drop in macro-F1 under each kind of noise, by method, with paired 95 % intervals.

    Returns:
        Nothing where no method was asked with noise.
    """
    kinds = dict.fromkeys(drop.kind for row in comparison.methods for drop in row.noise)
    groups = [
        SpreadGroup(
            kind,
            tuple(
                Spread(row.method, drop.drop, drop.interval, is_shown=drop.is_shown)
                for row in comparison.methods
                for drop in row.noise
                if drop.kind == kind
            ),
        )
        for kind in kinds
    ]
    return spread_figure(comparison, groups, axis="points of macro-F1 lost; above 0 is worse", png=png)
