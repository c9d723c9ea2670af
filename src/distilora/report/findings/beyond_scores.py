"""Plain sentences on what the scores hide: classes and groups that lost, noise, and how far to trust probabilities.

Each is told only where it is shown, with all that was looked at counted (Bonferroni).
"""

from __future__ import annotations

from statistics import NormalDist

from distilora.evaluation.assessments import Assessment
from distilora.evaluation.records import Interval
from distilora.evaluation.suites.records import Change
from distilora.report.records import LEVEL, ClassChange, Comparison, MethodRow, Score
from distilora.report.suite_wording import group_words
from distilora.report.wording import counted, number, points, points_span, printable, span

_SUITES = {"hatecheck": "HateCheck", "identity": "identity groups"}


def outlasts(value: float, interval: Interval, *, among: int) -> bool:
    """Return whether a difference is still not 0 once its 95 % interval is widened for how many were looked at.

    Args:
        value: the difference.
        interval: its own, not corrected.
        among: how many differences were looked at, this one included.

    Source:
        Dunn (1961), https://doi.org/10.1080/01621459.1961.10482090, with normal quantiles for the widening.

    Example:
        >>> interval = Interval(low=-0.06, high=-0.01)
        >>> outlasts(-0.035, interval, among=1), outlasts(-0.035, interval, among=30)
        (True, False)
    """
    normal = NormalDist()
    widening = normal.inv_cdf(1 - LEVEL / 2 / among) / normal.inv_cdf(1 - LEVEL / 2)
    reach = interval.high - value if value < 0 else value - interval.low
    return abs(value) > widening * reach


def lost_groups(comparison: Comparison) -> list[str]:
    """Return which class, and which group of each suite, a method is shown to have lost most against the teacher."""
    among = sum(len(model.changes) for suite in comparison.suites for model in suite.models)
    groups = (line for suite in comparison.suites for line in _lost_group(suite, among=among))
    return [*_lost_class(comparison), *groups]


def _lost_class(comparison: Comparison) -> list[str]:
    changes = [(row, change) for row in comparison.candidates for change in row.class_changes]
    lost = [(row, change) for row, change in changes if change.value < 0 and change.is_shown]
    if not lost:
        return []
    row, change = min(lost, key=lambda one: one[1].value)
    return [
        f"{printable(row.method)} finds less of the class {printable(change.name)} than the teacher: recall "
        f"{_gap(change)}.{_more(len(lost) - 1, 'loss', 'losses')}"
    ]


def _lost_group(suite: Assessment, *, among: int) -> list[str]:
    """Return the largest loss of a suite, found for its method and with those of all methods and suites counted.

    A corrected p alone would not do: it cannot fall below the number of changes over that of the resamples.

    Args:
        suite: that was asked.
        among: changes that were looked at, over all methods and suites.
    """
    lost = [
        (model, change)
        for model in suite.models
        for change in model.changes
        if change.value < 0 and change.is_shown and outlasts(change.value, change.interval, among=among)
    ]
    if not lost:
        return []
    model, change = min(lost, key=lambda one: one[1].value)
    where = _SUITES.get(suite.suite or "", printable(suite.source))
    return [
        f"On {where}, {printable(model.path)} is shown to be worse than the teacher in "
        f"{printable(group_words(change))}: {_gap(change)}.{_more(len(lost) - 1, 'loss', 'losses')}"
    ]


def _gap(change: ClassChange | Change) -> str:
    return f"{points(change.value)} points, 95 % interval {points_span(change.interval)}"


def _more(amount: int, one: str, several: str) -> str:
    if not amount:
        return ""
    return f" The report shows {'one' if amount == 1 else amount} more such {one if amount == 1 else several}."


def dearest_noise(comparison: Comparison) -> list[str]:
    """Return which typed noise costs the method to ship most, where its cost is shown."""
    row = _subject(comparison)
    drops = row.noise if row else ()
    shown = [drop for drop in drops if drop.drop > 0 and outlasts(drop.drop, drop.interval, among=len(drops))]
    if row is None or not shown:
        return []
    worst = max(shown, key=lambda drop: drop.drop)
    kinds, kind = counted(len(drops), "kind"), printable(worst.kind)
    return [
        f"Of {kinds} of typed noise, “{kind}” costs {printable(row.method)} most: "
        f"{points(worst.drop, signed=False)} points of macro-F1, 95 % interval {points_span(worst.interval)}."
    ]


def trust(comparison: Comparison) -> list[str]:
    """Return the calibration error of the method to ship, before and after its temperature."""
    row = _subject(comparison)
    before, after = (row.expected_calibration_error, row.calibrated_error) if row else (None, None)
    if row is None or before is None:
        return []
    shipped = after or before
    told = f"{_with_interval(after)} after its temperature and {_with_interval(before)} before" if after else None
    noise = ", and noise alone may give as much" if shipped.interval and not shipped.interval.low else ""
    return [
        f"The calibration error of {printable(row.method)}, how far its confidence lies from how often it is right, is "
        f"{told or _with_interval(before)}; 0 is best{noise}."
    ]


def _with_interval(score: Score) -> str:
    return number(score.mean) + (f" (95 % interval {span(score.interval)})" if score.interval else "")


def _subject(comparison: Comparison) -> MethodRow | None:
    """Return the recommended method, or where there is none the best on test rows."""
    return comparison.row(comparison.recommended) or comparison.row(comparison.best)
