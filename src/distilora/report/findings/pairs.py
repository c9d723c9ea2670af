"""Plain sentences on whether methods differ: from each other, and from the teacher."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from distilora.report.foreground import is_crowded
from distilora.report.records import Comparison, Difference, MethodRow
from distilora.report.wording import counted, first_of, listed, p_words, points, points_span, printable

_MOST_PAIRS = 6
"""Of more pairs than these only the number is told, and those of the first methods."""
_FIRST_METHODS = frozenset({"odd", "even", "lora"})
_FIGURE = "the figure"
_WITHIN_SEEDS = "; seeds of one method vary by as much"
Pairs = Sequence[tuple[MethodRow, MethodRow]]


def between_methods(comparison: Comparison) -> list[tuple[str, str]]:
    """Return whether students differ, whether LoRA differs from them, and ensembles from all: question and answer each.

    Teacher and baselines are left out.
    """
    everyone = [row for row in comparison.candidates if row.method != comparison.teacher]
    rows, ensembles = ([row for row in everyone if (row.kind == "ensemble") is averaged] for averaged in (False, True))
    students = [row for row in rows if row.kind == "student"]
    others = [row for row in rows if row.kind != "student"]
    among = list(itertools.combinations(students, 2))
    mixed = [pair for pair in itertools.combinations(rows, 2) if any(row.kind != "student" for row in pair)]
    averaged = [pair for pair in itertools.combinations(everyone, 2) if any(row in ensembles for row in pair)]
    told = (
        (_students_question(students), _answer(comparison, among, "of students")),
        (_others_question(others, students), _answer(comparison, mixed, "of LoRA with another method")),
        (_ensembles_question(ensembles), _answer(comparison, averaged, "of an ensemble with another method")),
    )
    return [(question, answer) for question, answer in told if answer]


def _students_question(students: Sequence[MethodRow]) -> str:
    if len(students) != 2:
        return "Do the students differ?"
    first, second = sorted((printable(row.method) for row in students), key=lambda name: name != "odd")
    return f"Does {first} differ from {second}?"


def _others_question(others: Sequence[MethodRow], students: Sequence[MethodRow]) -> str:
    name = printable(others[0].method) if len(others) == 1 else "LoRA"
    if len(others) == 1 and len(students) == 1:
        return f"Does {name} differ from {printable(students[0].method)}?"
    return f"Does {name} differ from {'both' if len(others) == 1 and len(students) == 2 else 'the others'}?"


def _ensembles_question(ensembles: Sequence[MethodRow]) -> str:
    if len(ensembles) != 1:
        return "Do the ensembles differ from the others?"
    return f"Does {printable(ensembles[0].method)} differ from the others?"


def _answer(comparison: Comparison, pairs: Pairs, which: str) -> str:
    found = [(a, b, gap) for a, b in pairs if (gap := comparison.difference(a.method, b.method)) is not None]
    if len(found) > _MOST_PAIRS:
        known, shown = counted(len(found), "pair"), sum(gap.is_shown for _, _, gap in found)
        first = [one for one in found if {one[0].method, one[1].method} <= _FIRST_METHODS]
        count = f"Of {known} {which}, a difference was found in {shown}; {_where(comparison)}."
        return " ".join([*_told(first), count])
    return " ".join(_told(found))


def _where(comparison: Comparison) -> str:
    return "the page of each method has its own" if is_crowded(comparison) else "the table of pairs has each"


def _told(found: Sequence[tuple[MethodRow, MethodRow, Difference]]) -> list[str]:
    apart = [_apart(*one) for one in found if one[2].is_shown]
    level = [_level(*one) for one in found if not one[2].is_shown]
    return [
        *([f"No difference was found between {'; '.join(level)}."] if level else []),
        *([f"By more than chance in the rows, {'; '.join(apart)}."] if apart else []),
    ]


def _level(one: MethodRow, other: MethodRow, gap: Difference) -> str:
    return f"{printable(one.method)} and {printable(other.method)} ({_width(gap)} points apart, {_p(gap)})"


def _apart(one: MethodRow, other: MethodRow, gap: Difference) -> str:
    """Return which of two is ahead; the first has the higher macro-F1."""
    known = f", 95 % interval {points_span(gap.interval)}" if gap.interval else ""
    doubt = _WITHIN_SEEDS if is_within_seeds(gap, one, other) else ""
    ahead = f"{printable(one.method)} is ahead of {printable(other.method)}"
    return f"{ahead} by {_width(gap)} points ({_p(gap)}{known}{doubt})"


def against_teacher(comparison: Comparison) -> str | None:
    """Return which methods are shown to differ from the teacher, and for which no difference was found."""
    teacher = comparison.row(comparison.teacher)
    if teacher is None:
        return "No teacher has a score, so nothing is compared with one." if comparison.candidates else None
    gaps = [(row, row.to_teacher) for row in comparison.candidates if row.to_teacher is not None]
    shown = [(row, gap) for row, gap in gaps if gap.is_shown]
    better = [_beside(row, gap, teacher) for row, gap in shown if gap.value > 0]
    worse = [_beside(row, gap, teacher) for row, gap in shown if gap.value < 0]
    level = [f"{printable(row.method)} ({gap_words(gap)})" for row, gap in gaps if not gap.is_shown and gap.interval]
    untold = [row.method for row, gap in gaps if gap.interval is None]
    parts = [
        *([f"better by more than chance in the rows {', '.join(first_of(better, see=_FIGURE))}"] if better else []),
        *([f"worse {', '.join(first_of(worse, see=_FIGURE))}"] if worse else []),
        *([f"no difference was found for {'; '.join(first_of(level, see=_FIGURE))}"] if level else []),
        *([f"nothing is known of {listed(untold)} without kept predictions"] if untold else []),
    ]
    return f"Against the teacher: {'; '.join(parts)}.{_alone(gaps)}" if parts else None


def _beside(row: MethodRow, gap: Difference, teacher: MethodRow) -> str:
    doubt = _WITHIN_SEEDS if is_within_seeds(gap, row, teacher) else ""
    return f"{printable(row.method)} ({gap_words(gap)}{doubt})"


def _alone(gaps: Sequence[tuple[MethodRow, Difference]]) -> str:
    """Return which methods would be told to differ from the teacher, were their pair the only one."""
    names = [row.method for row, gap in gaps if gap.interval and not gap.is_shown and gap.interval.leaves_out_zero]
    if not names:
        return ""
    each = "the interval leaves out 0" if len(names) == 1 else "each interval leaves out 0"
    named = listed(first_of(names))
    return f" For {named} {each}, but not once all pairs are counted: more test rows may show a difference."


def gap_words(gap: Difference) -> str:
    """Return a difference in points, with its p where there is one."""
    return f"{points(gap.value)} points" + (f", {_p(gap)}" if gap.p_holm is not None else "")


def _width(gap: Difference) -> str:
    return points(gap.value, signed=False)


def _p(gap: Difference) -> str:
    return p_words(gap.p_holm) if gap.p_holm is not None else "not tested"


def is_within_seeds(gap: Difference, one: MethodRow, other: MethodRow) -> bool:
    """Return whether a difference is below twice its standard error from seed to seed; False where that is unknown."""
    errors = [
        row.macro_f1.sd / math.sqrt(len(row.seeds))
        for row in (one, other)
        if row.macro_f1 is not None and row.macro_f1.sd is not None
    ]
    return len(errors) == 2 and abs(gap.value) < 2 * math.hypot(*errors)
