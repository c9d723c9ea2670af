"""Cells and links that several sections share."""

from __future__ import annotations

import re

from distilora.report.records import Comparison, Difference, Score
from distilora.report.wording import MISSING, number, printable, span

_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def shown_mean(score: Score | None, decimals: int = 3) -> str:
    """Return a mean, with its standard deviation over seeds where there is one."""
    if score is None:
        return MISSING
    spread = f" ± {number(score.sd, decimals)}" if score.sd is not None else ""
    return number(score.mean, decimals) + spread


def shown_interval(score: Score | None) -> str:
    """Return the interval of a score, or a dash where there is none."""
    return span(score.interval if score else None)


def method_pages(comparison: Comparison) -> dict[str, str]:
    """Return where each method's page stands, beside the report, by the name that tables give the method.

    Baselines have none, nor have methods whose name could not be a folder's.
    """
    return {
        printable(row.method): f"{row.method}/report.html"
        for row in comparison.methods
        if not row.is_baseline and _PLAIN_NAME.fullmatch(row.method)
    }


def shown_verdict(difference: Difference | None) -> str:
    """Return what the test of a difference found."""
    if difference is None or difference.p_holm is None:
        return MISSING
    return "they differ" if difference.is_shown else "no difference was found"
