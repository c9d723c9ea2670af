"""Cells and links that several sections share."""

from __future__ import annotations

from distilora.evaluation.records import Interval
from distilora.layout import METHOD_NAME, REPORT_FILE
from distilora.report.blocks import Cell, Keyed
from distilora.report.records import Comparison, Difference, Score
from distilora.report.wording import MISSING, number, p_words, points, points_span, printable, span


def shown_mean(score: Score | None, decimals: int = 3) -> str:
    """Return a mean, with its standard deviation over seeds where there is one."""
    if score is None:
        return MISSING
    spread = f" ± {number(score.sd, decimals)}" if score.sd is not None else ""
    return number(score.mean, decimals) + spread


def shown_interval(score: Score | None) -> str:
    """Return the interval of a score, or a dash where there is none."""
    return span(score.interval if score else None)


def shown_score(score: Score | None) -> str:
    """Return a mean with its interval, where there is one."""
    known = f" ({span(score.interval)})" if score and score.interval else ""
    return f"{number(score.mean if score else None)}{known}"


def shown_change(value: float, interval: Interval, *, is_shown: bool) -> str:
    """Return a difference in points with its interval, and a star where it is shown.

    Example:
        >>> shown_change(-0.03, Interval(low=-0.05, high=-0.01), is_shown=True)
        '−3.0 (−5.0 to −1.0) *'
    """
    return f"{points(value)} ({points_span(interval)}){' *' if is_shown else ''}"


def shown_p(difference: Difference | None) -> Cell:
    """Return the corrected p of a difference, sorted by its value, or a dash where there is none."""
    p = difference.p_holm if difference else None
    return MISSING if p is None else bare_p(p)


def bare_p(p: float) -> Keyed:
    """Return a p for a column that is called so, sorted by its value.

    Example:
        >>> bare_p(0.0314).text, bare_p(0.00031).text
        ('0.031', '< 0.001')
    """
    return Keyed(p_words(p).removeprefix("p ").removeprefix("= "), p)


def has_page(method: str) -> bool:
    """Return whether a method, if it is no baseline, has a page: its name must be one that a folder can have."""
    return METHOD_NAME.fullmatch(method) is not None


def method_pages(comparison: Comparison) -> dict[str, str]:
    """Return where each method's page stands, beside the report, by the name that tables give the method.

    Baselines have none, nor have methods whose name could not be a folder's.
    """
    return {
        printable(row.method): f"{row.method}/{REPORT_FILE}"
        for row in comparison.methods
        if not row.is_baseline and has_page(row.method)
    }


def shown_verdict(difference: Difference | None) -> str:
    """Return what the test of a difference found."""
    if difference is None or difference.p_holm is None:
        return MISSING
    return "they differ" if difference.is_shown else "no difference was found"
