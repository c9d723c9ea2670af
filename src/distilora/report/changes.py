"""Changes against the teacher: whether an interval leaves out 0, and how it is told."""

from __future__ import annotations

from distilora.evaluation.records import Interval
from distilora.report.wording import points


def leaves_out_zero(interval: Interval) -> bool:
    """Return whether 0 lies outside an interval.

    Example:
        >>> leaves_out_zero(Interval(low=-0.02, high=0.01)), leaves_out_zero(Interval(low=0.01, high=0.02))
        (False, True)
    """
    return not interval.low <= 0 <= interval.high


def change_span(interval: Interval) -> str:
    """Return an interval of differences in points, so that rounding never puts 0 at the end of one that leaves it out.

    Example:
        >>> change_span(Interval(low=-0.019, high=0.007)), change_span(Interval(low=-0.008, high=-0.0002))
        ('−1.9 to +0.7', '−0.8 to just below 0')
    """
    return f"{_end(interval.low)} to {_end(interval.high)}"


def _end(value: float) -> str:
    told = points(value)
    return told if told != "0.0" or not value else f"just {'below' if value < 0 else 'above'} 0"


def change_cell(value: float, interval: Interval, *, marked: bool) -> str:
    """Return a difference in points with its interval, and a star where it is marked.

    Example:
        >>> change_cell(-0.03, Interval(low=-0.05, high=-0.01), marked=True)
        '−3.0 (−5.0 to −1.0) *'
    """
    return f"{points(value)} ({change_span(interval)}){' *' if marked else ''}"
