"""Plain sentences on what won and by how much, and on what the numbers cannot tell."""

from __future__ import annotations

import itertools
import math

from distilora.report.records import BASELINES, FEW_ROWS, LEVEL, MAJORITY, TFIDF, Comparison, Difference, MethodRow
from distilora.report.wording import counted, listed, number, p_words, percent, points, points_span, printable, span

_MOST_PAIRS = 6
"""Of more pairs than these only the number is told."""


def findings(comparison: Comparison) -> list[str]:
    """Return what a comparison shows, one sentence or two an entry, the most important first.

    Points are 100 times macro-F1. A difference counts as found only where p, corrected for all pairs of methods, is
    below 0.05.
    """
    return [
        *_winner(comparison),
        *_against_teacher(comparison),
        *_between_students(comparison),
        *_against_tfidf(comparison),
        *_suspicious(comparison),
        *_void(comparison),
        *_limits(comparison),
    ]


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
    return [_kept(row, teacher) for row in comparison.candidates if row.method != teacher.method]


def _kept(row: MethodRow, teacher: MethodRow) -> str:
    difference = row.to_teacher
    if difference is None or row.macro_f1 is None or teacher.macro_f1 is None or teacher.macro_f1.mean <= 0:
        return f"{printable(row.method)} cannot be compared with {printable(teacher.method)}."
    found = f"it is {'better' if difference.value > 0 else 'worse'} than the teacher"
    verdict = _verdict(difference, _seed_error(row, teacher), found=found)
    share = percent(row.macro_f1.mean / teacher.macro_f1.mean)
    keeps = "keeps" if difference.value <= 0 else "reaches"
    return (
        f"{printable(row.method)} {keeps} {share} of the teacher's macro-F1 "
        f"(difference {_measured(difference)}: {verdict}){_cost(row, teacher)}."
    )


def _cost(row: MethodRow, teacher: MethodRow) -> str:
    """Return what a method costs beside the teacher: its size, and what it trains where that is less."""
    size = ""
    if row.size_bytes and teacher.size_bytes:
        size = f" with {percent(row.size_bytes / teacher.size_bytes)} of its size"
    trains_few = (
        row.parameters and row.trainable_parameters is not None and row.trainable_parameters < 0.5 * row.parameters
    )
    if not trains_few:
        return size
    share = percent((row.trainable_parameters or 0) / (row.parameters or 1))
    return f"{size}{' and' if size else ','} training {share} of its own parameters"


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
    sentences = [_not_above(row) for row in behind]
    sentences += [
        f"{printable(row.method)} is ahead of {BASELINES[TFIDF]} by {_measured(row.to_tfidf)}: "
        f"{_verdict(row.to_tfidf, None, found='')}."
        for row in level
        if row.to_tfidf is not None
    ]
    if not behind and not level and comparison.candidates:
        sentences.append(
            f"Every method is above {BASELINES[TFIDF]} in macro-F1 ({number(tfidf.macro_f1.mean)}), "
            "each by more than chance in the rows."
        )
    return sentences


def _not_above(row: MethodRow) -> str:
    measured = f" (difference {_measured(row.to_tfidf)})" if row.to_tfidf else ""
    return f"{printable(row.method)} is not better than {BASELINES[TFIDF]} in macro-F1{measured}."


def _suspicious(comparison: Comparison) -> list[str]:
    constant = [row.method for row in comparison.candidates if "one class" in row.flags]
    below = [row.method for row in comparison.candidates if "below majority" in row.flags]
    majority = comparison.row(MAJORITY)
    sentences = []
    if constant:
        sentences.append(f"{listed(constant)}: at least one seed gave every test row the same class.")
    if below and majority and majority.accuracy:
        sentences.append(
            f"{listed(below)}: the accuracy is below the {number(majority.accuracy.mean)} of "
            f"always saying the largest class."
        )
    return sentences


def _void(comparison: Comparison) -> list[str]:
    sentences = []
    for row in comparison.rows:
        if row.void and row.is_void:
            sentences.append(f"{printable(row.method)} is void and has no score: {_reasons(row)}.")
        elif row.void:
            sentences.append(
                f"{printable(row.method)}: {len(row.void)} of {len(row.void) + len(row.seeds)} seeds are void "
                f"({_reasons(row)}); its scores are those of the others."
            )
    return sentences


def _reasons(row: MethodRow) -> str:
    return "; ".join(f"seed {void.seed}, {printable(void.reason).rstrip('.')}" for void in row.void)


def _limits(comparison: Comparison) -> list[str]:
    """Return what these runs cannot tell, whatever they show."""
    candidates = comparison.candidates
    if not candidates:
        return []
    rows = counted(sum(comparison.class_support.values()), "test row")
    sentences = [_seed_limits(comparison), *_scarce_classes(comparison)]
    if comparison.pairs:
        sentences.append(
            f"Each p is corrected (Holm) for the {counted(len(comparison.pairs), 'pair')} of "
            f"{listed(comparison.family)}; a difference counts as found below {LEVEL}."
        )
    if any(d and not d.is_shown for row in candidates for d in (row.to_teacher, row.to_best, row.to_tfidf)):
        sentences.append(
            f"Where no difference was found, {rows} were not enough to tell two methods apart; "
            "that does not show that they are equal."
        )
    return sentences


def _scarce_classes(comparison: Comparison) -> list[str]:
    scarce = [f"{printable(name)} ({rows})" for name, rows in comparison.scarce_classes.items()]
    if not scarce:
        return []
    return [
        f"Fewer than {FEW_ROWS} test rows: {', '.join(scarce)}. With so few, the intervals of these classes and of "
        "macro-F1 are too narrow."
    ]


def _seed_limits(comparison: Comparison) -> str:
    amounts = {len(row.seeds) for row in comparison.candidates}
    spreads = [row.macro_f1.sd for row in comparison.candidates if row.macro_f1 and row.macro_f1.sd is not None]
    if not spreads:
        return "One seed a method: how much another seed would change is not known; intervals speak of test rows alone."
    seeds = counted(min(amounts), "seed") if len(amounts) == 1 else f"{min(amounts)} to {max(amounts)} seeds"
    return (
        f"Over {seeds} a method, macro-F1 varies with a standard deviation of {points(min(spreads), signed=False)} to "
        f"{points(max(spreads), signed=False)} points; intervals are over test rows with the seeds averaged."
    )
