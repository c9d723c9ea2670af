"""Which method to ship, chosen on validation rows alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from distilora.errors import ConfigError, RunError
from distilora.evaluation.costs import ExperimentCosts
from distilora.evaluation.metrics import macro_f1_of
from distilora.evaluation.records import Interval
from distilora.evaluation.resampling import Classes
from distilora.evaluation.significance import PairTest, compare_with
from distilora.report.comparing.answers import Answers
from distilora.report.comparing.costs import TIMED_TOKENS
from distilora.report.comparing.scores import known_score
from distilora.report.records import Considered, Difference, Failing, Limits, MethodRow, Recommendation, Score

EQUAL_TIMES = 1.10
"""Times up to this multiple of the shortest count as equal: those of one model differ by as much from day to day."""
EQUAL_SIZES = 1.02
"""Sizes up to this multiple of the smallest count as equal."""


class Broken(NamedTuple):
    """A limit that a method does not keep to."""

    limit: Literal["size", "latency", "recall"]
    allowed: float
    """In the limit's own unit."""
    value: float | None
    """What the method has; absent where it was not measured."""


class _Said(NamedTuple):
    """What one method says of the validation rows."""

    labels: Classes
    """True class of each, shape (rows,)."""
    predictions: Classes
    """Shape (seeds, rows)."""
    classes: int


def recommend(
    rows: Sequence[MethodRow],
    answers: Mapping[str, Answers],
    *,
    costs: ExperimentCosts | None,
    limits: Limits,
) -> Recommendation | None:
    """Return which method to ship, or nothing where no method has validation scores.

    Each method is tested against the best on the validation rows (paired bootstrap, Holm). Without limits the cheapest
    of those that are not shown to be worse is chosen, see :func:`cheapest`; with limits the best of those that keep to
    all of them. What was not measured keeps to no limit. Test rows have no say.

    Args:
        rows: all methods with what is known of each; baselines and void ones are not considered.
        answers: of each method, by name.
        costs: as measured.
        limits: that the model must keep to.

    Raises:
        ConfigError: recall is limited, and the data names no positive classes.
        RunError: two runs hold different validation labels.
    """
    if limits.min_recall is not None:
        _require_positive(answers)
    said = {row.method: found for row in rows if (found := _said(row, answers.get(row.method))) is not None}
    if not said:
        return None
    _require_same_labels(said)
    scores = {method: _macro_f1(found) for method, found in said.items()}
    best = min(scores, key=lambda method: (-scores[method].mean, method))
    tests = _tests(said, best)
    considered = [
        _considered(row, scores[row.method], tests.get(row.method), costs) for row in rows if row.method in said
    ]
    considered.sort(key=lambda one: (-one.macro_f1.mean, one.method))
    chosen, failing = _within(considered, limits, costs) if limits.any else _cheapest_equal(considered)
    return Recommendation(
        rule="limits" if limits.any else "cheapest",
        limits=limits,
        rows=len(said[best].labels),
        best=best,
        method=chosen,
        considered=tuple(one.model_copy(update={"failing": failing[one.method]}) for one in considered),
    )


def cheapest(level: Sequence[Considered]) -> Considered:
    """Return the cheapest of methods that count as equally good; the better on validation of those that cost the same.

    Example:
        >>> score = Score(mean=0.8)
        >>> odd, lora = (
        ...     Considered(method=name, macro_f1=score, to_best=None, size_mb=size, latency_ms=time,
        ...                slow_latency_ms=None, recall=None, failing=None)
        ...     for name, size, time in (("odd", 18.0, 5.2), ("lora", 24.0, 5.0))
        ... )
        >>> cheapest([odd, lora]).method  # 5.2 ms are within 10 % of 5.0 ms, so that size decides
        'odd'
    """
    return min(equally_cheap(level), key=lambda one: (-one.macro_f1.mean, one.method))


def equally_cheap(level: Sequence[Considered]) -> Sequence[Considered]:
    """Return those methods that no other undercuts.

    They have the shortest time for a text of 64 tokens, or up to 10 % more, and of these the smallest size, or up to
    2 % more. Where the time of one is not known, size decides alone.

    Args:
        level: at least one.
    """
    timed = all(one.latency_ms is not None for one in level)
    near = _near(level, lambda one: one.latency_ms, slack=EQUAL_TIMES) if timed else level
    return _near(near, lambda one: one.size_mb, slack=EQUAL_SIZES)


def broken_limits(one: Considered, limits: Limits, costs: ExperimentCosts | None) -> tuple[Broken, ...]:
    """Return the limits that a method does not keep to; the size of weights alone does not count as measured."""
    shipped = one.size_mb if costs is not None and costs.of(one.method) is not None else None
    broken = []
    if limits.max_size_mb is not None and (shipped is None or shipped > limits.max_size_mb):
        broken.append(Broken("size", limits.max_size_mb, shipped))
    slow = one.slow_latency_ms
    if limits.max_latency_ms is not None and (slow is None or slow > limits.max_latency_ms):
        broken.append(Broken("latency", limits.max_latency_ms, slow))
    if limits.min_recall is not None and (one.recall is None or one.recall < limits.min_recall):
        broken.append(Broken("recall", limits.min_recall, one.recall))
    return tuple(broken)


def _require_positive(answers: Mapping[str, Answers]) -> None:
    seen = [run.result.data for one in answers.values() for run in one.runs]
    if seen and not any(data.positive for data in seen):
        names = ", ".join(seen[0].label_names)
        raise ConfigError(
            "report.min_recall: recall is that of the positive classes, and data.positive names none: "
            f"name one or several of {names} there, or leave min_recall out"
        )


def _said(row: MethodRow, answers: Answers | None) -> _Said | None:
    """Return what a method says of the validation rows; nothing where it cannot be chosen or a seed did not keep it."""
    labels, logits = (answers.validation_labels, answers.validation_logits) if answers else (None, None)
    if row.is_baseline or row.is_void or labels is None or logits is None:
        return None
    if any(not np.array_equal(labels[0], others) for others in labels):
        raise RunError(f"{row.method}: its seeds hold different validation labels: train the method again")
    return _Said(labels[0], np.stack([one.argmax(axis=1) for one in logits]), logits[0].shape[1])


def _require_same_labels(said: Mapping[str, _Said]) -> None:
    first = next(iter(said))
    for method, found in said.items():
        if not np.array_equal(found.labels, said[first].labels):
            raise RunError(f"{first} and {method} hold different validation labels: train one of them again")


def _macro_f1(said: _Said) -> Score:
    return known_score([macro_f1_of(row[None], said.labels, classes=said.classes) for row in said.predictions])


def _tests(said: Mapping[str, _Said], best: str) -> dict[str, PairTest]:
    predictions = {method: found.predictions for method, found in said.items()}
    labels, classes = said[best].labels, said[best].classes
    return {test.first: test for test in compare_with(labels, predictions, reference=best, classes=classes)}


def _considered(row: MethodRow, score: Score, test: PairTest | None, costs: ExperimentCosts | None) -> Considered:
    measured = costs.of(row.method) if costs is not None else None
    usual = measured.latency_at(TIMED_TOKENS) if measured else None
    recall = row.positive.validation_recall if row.positive else None
    return Considered(
        method=row.method,
        macro_f1=score,
        to_best=_difference(test) if test else None,
        size_mb=measured.size_mb if measured else row.size_mb,
        latency_ms=usual.p50_ms if usual else None,
        slow_latency_ms=measured.latency[-1].p95_ms if measured else None,
        recall=recall.mean if recall else None,
        failing=None,
    )


def _difference(test: PairTest) -> Difference:
    return Difference(
        other=test.second, value=test.value, interval=Interval(low=test.low, high=test.high), p_holm=test.p_holm
    )


def _cheapest_equal(considered: Sequence[Considered]) -> tuple[str, dict[str, Failing | None]]:
    """Return the cheapest method that is not shown to be worse than the best, and why each other one is not it."""
    level = [one for one in considered if one.to_best is None or not one.to_best.is_shown]
    chosen = cheapest(level).method
    failing: dict[str, Failing | None] = {one.method: "worse" for one in considered}
    failing |= {one.method: "dearer" for one in level}
    failing |= {one.method: "lower" for one in equally_cheap(level)}
    return chosen, failing | {chosen: None}


def _within(
    considered: Sequence[Considered], limits: Limits, costs: ExperimentCosts | None
) -> tuple[str | None, dict[str, Failing | None]]:
    """Return the best method that keeps to all limits, if one does, and why each other one is not it."""
    broken = {one.method: broken_limits(one, limits, costs) for one in considered}
    keeping = [one for one in considered if not broken[one.method]]
    failing: dict[str, Failing | None] = {
        method: faults[0].limit if faults else "lower" for method, faults in broken.items()
    }
    if not keeping:
        return None, failing
    chosen = min(keeping, key=lambda one: (-one.macro_f1.mean, *_cost(one), one.method))
    return chosen.method, failing | {chosen.method: None}


def _cost(one: Considered) -> tuple[float, float]:
    return (
        math.inf if one.latency_ms is None else one.latency_ms,
        math.inf if one.size_mb is None else one.size_mb,
    )


def _near(
    ones: Sequence[Considered], measure: Callable[[Considered], float | None], *, slack: float
) -> Sequence[Considered]:
    """Return those whose cost is within ``slack`` times the lowest; all where none has any."""
    known = [(one, value) for one in ones if (value := measure(one)) is not None]
    lowest = min((value for _, value in known), default=None)
    return ones if lowest is None else [one for one, value in known if value <= slack * lowest]
