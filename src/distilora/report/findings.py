"""Plain sentences on what won and by how much, and on what the numbers cannot tell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from distilora.evaluation.costs import MethodCosts
from distilora.report.cautions import limits_of_evidence, suspicious_methods, void_methods
from distilora.report.recommendation import EQUAL_TIMES, TIMED_TOKENS
from distilora.report.records import BASELINES, TFIDF, Comparison, Difference, MethodRow
from distilora.report.sections.recommendation import choice_sentence
from distilora.report.side_findings import dearest_noise, lost_groups, trust
from distilora.report.wording import counted, listed, number, p_words, percent, points, points_span, printable, span

_MOST_METHODS = 4
"""Of more methods beside the teacher than these only what is shown is told."""
_MOST_PAIRS = 6
"""Of more pairs than these only the number is told."""


def findings(comparison: Comparison) -> list[str]:
    """Return what a comparison shows, one sentence or two an entry, the most important first.

    Points are 100 times macro-F1. A difference counts as found only where p, corrected for all pairs of methods, is
    below 0.05.
    """
    return [
        *_choice(comparison),
        *_winner(comparison),
        *_between_students(comparison),
        *_against_teacher(comparison),
        *void_methods(comparison),
        *suspicious_methods(comparison),
        *_against_tfidf(comparison),
        *lost_groups(comparison),
        *dearest_noise(comparison),
        *trust(comparison),
        *limits_of_evidence(comparison),
    ]


def _choice(comparison: Comparison) -> list[str]:
    found = comparison.recommendation
    return [] if found is None else [choice_sentence(comparison, found)]


def _winner(comparison: Comparison) -> list[str]:
    best = comparison.row(comparison.best)
    if best is None or best.macro_f1 is None or best.accuracy is None:
        return ["No method has a score, so there is nothing to compare."]
    contenders = comparison.contenders
    doubt = "No method is shown to be the best: " if contenders else ""
    sentence = (
        f"{doubt}{printable(best.method)} has the highest macro-F1 on the test rows, {number(best.macro_f1.mean)}"
        f"{_in_brackets(best)}, with an accuracy of {number(best.accuracy.mean)}"
    )
    but = f", but no difference was found to {listed([row.method for row in contenders])}" if contenders else ""
    return [f"{sentence}{but}.{_lead(comparison, best)}"]


def _in_brackets(row: MethodRow) -> str:
    interval = row.macro_f1.interval if row.macro_f1 else None
    return f" (95 % interval {span(interval)})" if interval else ""


def _lead(comparison: Comparison, best: MethodRow) -> str:
    """Return how far the best method is ahead of the next one, seen from the best."""
    runner_up = next((row for row in comparison.candidates if row.method != best.method), None)
    if runner_up is None or runner_up.to_best is None:
        return ""
    lead = comparison.difference(best.method, runner_up.method)
    if lead is None:
        return f" Next is {printable(runner_up.method)}; without kept predictions nothing more can be said."
    verdict = _verdict(lead, _seed_error(best, runner_up), found="more than chance in the rows")
    return f" Next is {printable(runner_up.method)} (the lead is {_measured(lead)}: {verdict})."


def _measured(difference: Difference) -> str:
    gap = f"{points(difference.value)} points"
    if difference.interval is None or difference.p_holm is None:
        return gap
    return f"{gap}, 95 % interval {points_span(difference.interval)}, {p_words(difference.p_holm)}"


def _verdict(difference: Difference, seed_error: float | None, *, found: str) -> str:
    """Return what a difference means; ``seed_error`` is its standard error from seed to seed, where known."""
    if difference.interval is None:
        return "without kept predictions it has no interval, so it shows nothing"
    if not difference.is_shown:
        alone = not difference.interval.low <= 0 <= difference.interval.high
        return "no difference was found" + (" once all pairs are counted" if alone else "")
    if seed_error is not None and abs(difference.value) < 2 * seed_error:
        return f"{found}, but seeds of one method vary by as much"
    return found


def _seed_error(one: MethodRow, other: MethodRow) -> float | None:
    """Return the standard error of the difference of two means over seeds, where both methods have several."""
    errors = [
        row.macro_f1.sd / math.sqrt(len(row.seeds))
        for row in (one, other)
        if row.macro_f1 is not None and row.macro_f1.sd is not None
    ]
    return math.hypot(*errors) if len(errors) == 2 else None


def _against_teacher(comparison: Comparison) -> list[str]:
    teacher = comparison.row(comparison.teacher)
    if teacher is None:
        return ["No teacher has a score, so nothing is compared with one."] if comparison.candidates else []
    others = [row for row in comparison.candidates if row.method != teacher.method]
    if len(others) <= _MOST_METHODS:
        return [_kept(row, teacher, comparison) for row in others]
    return _kept_in_short(others, teacher, comparison)


def _kept_in_short(others: Sequence[MethodRow], teacher: MethodRow, comparison: Comparison) -> list[str]:
    """Return which of many methods are shown to differ from the teacher, and what all of them cost beside it."""
    shown = [(row, row.to_teacher) for row in others if row.to_teacher and row.to_teacher.is_shown]
    better = [f"{printable(row.method)} ({points(gap.value)} points)" for row, gap in shown if gap.value > 0]
    worse = [f"{printable(row.method)} ({points(gap.value)} points)" for row, gap in shown if gap.value < 0]
    level = [row.method for row in others if row.method not in {one.method for one, _ in shown}]
    costs = [f"{printable(row.method)}{cost}" for row in others if (cost := _cost(row, teacher, comparison))]
    return [
        "Against the teacher: "
        + "; ".join(
            [
                *([f"better by more than chance in the rows {', '.join(better)}"] if better else []),
                *([f"worse {', '.join(worse)}"] if worse else []),
                *([f"no difference was found for {listed(level)}"] if level else []),
            ]
        )
        + ".",
        *([f"Beside the teacher, {'; '.join(costs)}."] if costs else []),
    ]


def _kept(row: MethodRow, teacher: MethodRow, comparison: Comparison) -> str:
    difference = row.to_teacher
    if difference is None or row.macro_f1 is None or teacher.macro_f1 is None or teacher.macro_f1.mean <= 0:
        return f"{printable(row.method)} cannot be compared with {printable(teacher.method)}."
    found = f"it is {'better' if difference.value > 0 else 'worse'} than the teacher"
    verdict = _verdict(difference, _seed_error(row, teacher), found=found)
    share = percent(row.macro_f1.mean / teacher.macro_f1.mean)
    keeps = "keeps" if difference.value <= 0 else "reaches"
    return (
        f"{printable(row.method)} {keeps} {share} of the teacher's macro-F1 "
        f"(difference {_measured(difference)}: {verdict}){_cost(row, teacher, comparison)}."
    )


def _cost(row: MethodRow, teacher: MethodRow, comparison: Comparison) -> str:
    """Return what a method costs beside the teacher: size, measured time, and what it trains where that is less."""
    measured, theirs = (comparison.costs.of(one.method) if comparison.costs else None for one in (row, teacher))
    if measured is not None and theirs is not None:
        cost = f" with {percent(measured.size_bytes / theirs.size_bytes)} of its size{_speed(measured, theirs)}"
    elif row.size_bytes and teacher.size_bytes:
        cost = f" with {percent(row.size_bytes / teacher.size_bytes)} of its size"
    else:
        cost = ""
    trains_few = (
        row.parameters and row.trainable_parameters is not None and row.trainable_parameters < 0.5 * row.parameters
    )
    if not trains_few:
        return cost
    share = percent((row.trainable_parameters or 0) / (row.parameters or 1))
    return f"{cost}{' and' if cost else ','} training {share} of its own parameters"


def _speed(measured: MethodCosts, theirs: MethodCosts) -> str:
    """Return how a method's time for one text compares; times of a bundle and of a trained run do not."""
    mine, other = measured.latency_at(TIMED_TOKENS), theirs.latency_at(TIMED_TOKENS)
    if mine is None or other is None or not mine.p50_ms or not other.p50_ms or measured.model != theirs.model:
        return ""
    ratio = mine.p50_ms / other.p50_ms
    if 1 / EQUAL_TIMES <= ratio <= EQUAL_TIMES:
        return " at about the same speed"
    return f", {1 / ratio:.1f} times as fast" if ratio < 1 else f", taking {ratio:.1f} times as long"


def _between_students(comparison: Comparison) -> list[str]:
    """Return which methods differ from each other, teacher and baselines left out."""
    names = [row.method for row in comparison.candidates if row.method != comparison.teacher]
    pairs = [(a, b, comparison.difference(a, b)) for a, b in itertools.combinations(names, 2)]
    level = [f"{printable(a)} and {printable(b)}" for a, b, d in pairs if d and not d.is_shown]
    apart = [f"{printable(a)} is ahead of {printable(b)} by {_measured(d)}" for a, b, d in pairs if d and d.is_shown]
    if len(pairs) > _MOST_PAIRS:
        known = counted(len(level) + len(apart), "pair")
        return [
            f"Of {known} of methods without the teacher, a difference was found in {len(apart)}; the table of pairs "
            "has each."
        ]
    return [
        *([f"No difference was found between {'; '.join(level)}."] if level else []),
        *([f"By more than chance in the rows, {'; '.join(apart)}."] if apart else []),
    ]


def _against_tfidf(comparison: Comparison) -> list[str]:
    tfidf = comparison.row(TFIDF)
    if tfidf is None or tfidf.macro_f1 is None:
        missing = "Without a TF-IDF baseline it is not known whether a large model was needed."
        return [missing] if comparison.candidates else []
    behind = [row for row in comparison.candidates if "not above tfidf" in row.flags]
    level = [row for row in comparison.candidates if row not in behind and row.to_tfidf and not row.to_tfidf.is_shown]
    sentences = []
    if behind:
        first, *others = behind
        more = "".join(f"; nor is {printable(row.method)}{_to_tfidf(row)}" for row in others)
        sentences.append(
            f"{printable(first.method)} is not better than {BASELINES[TFIDF]} in macro-F1{_to_tfidf(first)}{more}."
        )
    if level:
        gaps = "; ".join(f"{printable(row.method)}{_to_tfidf(row)}" for row in level)
        sentences.append(f"Ahead of {BASELINES[TFIDF]}, but no difference was found: {gaps}.")
    if not behind and not level and comparison.candidates:
        sentences.append(
            f"Every method is above {BASELINES[TFIDF]} in macro-F1 ({number(tfidf.macro_f1.mean)}), "
            "each by more than chance in the rows."
        )
    return sentences


def _to_tfidf(row: MethodRow) -> str:
    return f" ({_measured(row.to_tfidf)})" if row.to_tfidf else ""
