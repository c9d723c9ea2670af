"""Which model to ship, and why."""

from __future__ import annotations

import math
from collections.abc import Callable

from distilora.report.blocks import Block, Cell, Paragraph, Section, Table
from distilora.report.comparing.costs import TIMED_TOKENS
from distilora.report.comparing.recommendation import EQUAL_SIZES, EQUAL_TIMES, Broken, broken_limits
from distilora.report.records import BASELINES, LEVEL, TFIDF, Comparison, Considered, Recommendation
from distilora.report.sections.cells import shown_mean, shown_p
from distilora.report.wording import (
    MISSING,
    count,
    counted,
    first_of,
    listed,
    number,
    p_words,
    points,
    points_span,
    printable,
    span,
)

FEW_VALIDATION_ROWS = 500
"""With fewer validation rows the choice is called uncertain."""
_MOST_AHEAD = 3
"""Methods that are named as better on the test rows; of more, the number is told."""
_UNITS = {"size": "MB", "latency": "ms", "recall": "recall"}
_FAULTS = {"size": "too large", "latency": "too slow", "recall": "recall too low"}
_FLAGS = {"size": "--max-size-mb", "latency": "--max-latency-ms", "recall": "--min-recall"}


def recommendation_section(comparison: Comparison) -> Section:
    """Return the recommended method with the rule and all that were considered; empty where there is none."""
    found = comparison.recommendation
    blocks: tuple[Block, ...] = ()
    if found is not None:
        chosen = found.chosen
        blocks = (
            Paragraph(f"{choice_sentence(comparison, found)}{_cost(comparison, chosen)}{_on_test(comparison, found)}"),
            Paragraph(_rule(found)),
            _table(comparison, found),
            Paragraph(" ".join(_cautions(comparison, found))),
        )
    return Section("recommendation", "Which one to ship", blocks)


def choice_sentence(comparison: Comparison, found: Recommendation) -> str:
    """Return which method is recommended and why, and what the test rows show to be better; or what would fit."""
    chosen = found.chosen
    if chosen is None:
        return f"No method keeps to all limits, so none is recommended.{_what_would_fit(comparison, found)}"
    return f"{_reason(found, chosen)}{_ahead_on_test(comparison, found)}"


def _reason(found: Recommendation, chosen: Considered) -> str:
    name, best, score = printable(chosen.method), printable(found.best), number(chosen.macro_f1.mean)
    if len(found.considered) == 1:
        return (
            f"Ship {name}: it is the only method that could be chosen, with a macro-F1 of {score} on validation rows."
        )
    if found.rule == "limits":
        return f"Ship {name}: it has the best macro-F1 on validation rows ({score}) of the methods within all limits."
    if chosen.to_best is None:
        rivals = [one for one in found.considered if one.failing in {"dearer", "lower"}]
        rest = "of those not shown to be worse none is cheaper" if rivals else "every other method is shown to be worse"
        return f"Ship {name}: it has the best macro-F1 on validation rows ({score}), and {rest}."
    return (
        f"Ship {name}: it is the cheapest method that is not shown to be worse than {best}, the best on validation "
        f"rows (macro-F1 {score} against {number(found.considered[0].macro_f1.mean)}; {_tested(chosen)})."
    )


def _tested(one: Considered) -> str:
    gap = one.to_best
    if gap is None or gap.interval is None or gap.p_holm is None:
        return "not tested"
    shown = "a difference was found" if gap.is_shown else "no difference was found"
    return f"{points(gap.value)} points, 95 % interval {points_span(gap.interval)}, {p_words(gap.p_holm)}: {shown}"


def _ahead_on_test(comparison: Comparison, found: Recommendation) -> str:
    """Return which methods that might have been chosen the test rows show to be better, where there are any."""
    able = [one.method for one in found.considered if one.failing in {"worse", "dearer", "lower"}]
    gaps = {method: comparison.difference(method, found.method or "") for method in able}
    ahead = [
        f"{printable(method)} ({points(gap.value)} points, {p_words(gap.p_holm)})"
        for method, gap in gaps.items()
        if gap is not None and gap.p_holm is not None and gap.is_shown and gap.value > 0
    ]
    if not ahead:
        return ""
    names = listed(first_of(ahead, most=_MOST_AHEAD, shown=_MOST_AHEAD))
    verb = "is" if len(ahead) == 1 else "are"
    return f" But on the test rows, which have no say in this, {names} {verb} better by more than chance."


def _cost(comparison: Comparison, chosen: Considered | None) -> str:
    if chosen is None:
        return ""
    time = f" A text of {TIMED_TOKENS} tokens takes it {number(chosen.latency_ms, 1)} ms." if chosen.latency_ms else ""
    if chosen.size_mb is None:
        return time
    what = "All its files" if comparison.costs_of(chosen.method) else "Its weights"
    return f"{time} {what} have {number(chosen.size_mb, 1)} MB."


def _on_test(comparison: Comparison, found: Recommendation) -> str:
    row = comparison.row(found.method)
    if row is None or row.macro_f1 is None:
        return ""
    interval = f" (95 % interval {span(row.macro_f1.interval)})" if row.macro_f1.interval else ""
    return f" On the test rows, which had no say in this, its macro-F1 is {number(row.macro_f1.mean)}{interval}."


def _rule(found: Recommendation) -> str:
    if found.rule == "limits":
        return (
            f"The rule: of the methods with {listed(_limit_words(found))}, the one with the best macro-F1 on "
            "validation rows. What was not measured keeps to no limit. Size is that of all files to ship, not of the "
            "weights alone. Test rows have no say."
        )
    tests = len(found.considered) - 1
    tested = (
        "Each method is tested against the best on the "
        f"{count(found.rows)} validation rows: paired bootstrap of macro-F1, seeds averaged, p corrected (Holm) for "
        f"{counted(tests, 'test')}. Of those that are not shown to be worse (p of {LEVEL} or more) the cheapest is "
        "taken. "
    )
    return (
        f"The rule: {tested[0].lower() + tested[1:] if tests else 'there is one method. '}Cheapest is the shortest "
        f"time for one text of {TIMED_TOKENS} tokens, the median; times within {_percent(EQUAL_TIMES)} of the shortest "
        f"count as equal, and then the smaller size decides, within {_percent(EQUAL_SIZES)} of the smallest the better "
        f"macro-F1 on validation rows.{_untimed(found)} Test rows have no say."
    )


def _percent(slack: float) -> str:
    return f"{100 * (slack - 1):.0f} %"


def _untimed(found: Recommendation) -> str:
    level = [one for one in found.considered if one.failing != "worse"]
    if all(one.latency_ms is not None for one in level):
        return ""
    return " Times were not measured for all of them, so size decided alone."


def _limit_words(found: Recommendation) -> list[str]:
    limits = found.limits
    words = {
        "at most {} MB to ship": limits.max_size_mb,
        "at most {} ms for 95 of 100 texts of the longest measured length": limits.max_latency_ms,
        "a recall of the positive classes of {} or more on validation rows": limits.min_recall,
    }
    return [text.format(f"{limit:g}") for text, limit in words.items() if limit is not None]


def _table(comparison: Comparison, found: Recommendation) -> Table:
    best = printable(found.best)
    columns: dict[str, Callable[[Considered], Cell]] = {
        "method": lambda one: printable(one.method),
        "verdict": lambda one: verdict(comparison, found, one),
        "macro-F1, validation": lambda one: shown_mean(one.macro_f1),
        f"less {best}, points (95 % interval)": _gap,
        "p": lambda one: shown_p(one.to_best),
        f"ms, {TIMED_TOKENS} tokens": lambda one: number(one.latency_ms, 1),
    }
    if found.limits.max_latency_ms is not None:
        columns["ms, longest text, 95 of 100"] = lambda one: number(one.slow_latency_ms, 1)
    columns["MB"] = lambda one: number(one.size_mb, 1)
    if found.limits.min_recall is not None:
        columns["recall"] = lambda one: number(one.recall)
    rows = tuple(tuple(cell(one) for cell in columns.values()) for one in found.considered)
    return Table(f"What was considered on {count(found.rows)} validation rows, the best first", tuple(columns), rows)


def _gap(one: Considered) -> str:
    gap = one.to_best
    return MISSING if gap is None or gap.interval is None else f"{points(gap.value)} ({points_span(gap.interval)})"


def verdict(comparison: Comparison, found: Recommendation, one: Considered) -> str:
    """Return that a considered method is recommended, or why it is not."""
    chosen = found.chosen
    if one.failing is None:
        return "recommended"
    if one.failing == "worse":
        return f"shown to be worse than {printable(found.best)}"
    if one.failing == "dearer":
        return _dearer(one, chosen)
    if one.failing == "lower":
        return ("within all limits" if found.rule == "limits" else "costs the same") + ", not better on validation rows"
    return "; ".join(_fault(broken) for broken in broken_limits(one, found.limits, comparison.costs))


def _dearer(one: Considered, chosen: Considered | None) -> str:
    if chosen is None:
        return "dearer"
    name = printable(chosen.method)
    if one.latency_ms and chosen.latency_ms and one.latency_ms > chosen.latency_ms:
        return f"slower than {name}: {number(one.latency_ms, 1)} ms against {number(chosen.latency_ms, 1)} ms"
    if one.size_mb and chosen.size_mb:
        return f"larger than {name}: {number(one.size_mb, 1)} MB against {number(chosen.size_mb, 1)} MB"
    return f"its size is not known, that of {name} is"


def _fault(broken: Broken) -> str:
    if broken.value is None:
        return f"{broken.limit} not measured"
    unit = f" {_UNITS[broken.limit]}" if broken.limit != "recall" else ""
    decimals = 3 if broken.limit == "recall" else 1
    return f"{_FAULTS[broken.limit]}: {number(broken.value, decimals)}{unit} for a limit of {broken.allowed:g}{unit}"


def _what_would_fit(comparison: Comparison, found: Recommendation) -> str:
    """Return which method comes nearest to the limits, and the limits that it would keep to."""
    faults = {one.method: broken_limits(one, found.limits, comparison.costs) for one in found.considered}
    measured = {method: broken for method, broken in faults.items() if all(one.value is not None for one in broken)}
    if not measured:
        return " Some of what is limited was not measured for any of them, and what was not measured keeps to no limit."
    nearest = min(measured, key=lambda method: sum(math.log(_excess(one)) for one in measured[method]))
    needs = " and ".join(f"{_FLAGS[one.limit]} {_rounded(one)}" for one in measured[nearest])
    return f" {printable(nearest)} comes nearest: it would fit with {needs}."


def _excess(broken: Broken) -> float:
    """Return how many times over a limit a value is."""
    value = broken.value or 0.0
    if broken.limit == "recall":
        return broken.allowed / value if value else math.inf
    return value / broken.allowed


def _rounded(broken: Broken) -> str:
    """Return the nearest round limit that the value keeps to."""
    value = broken.value or 0.0
    return f"{math.floor(100 * value) / 100:g}" if broken.limit == "recall" else f"{math.ceil(10 * value) / 10:g}"


def _cautions(comparison: Comparison, found: Recommendation) -> list[str]:
    """Return what the choice does not say."""
    words = _beaten_by_tfidf(comparison, found)
    if all(one.macro_f1.sd is None for one in found.considered):
        words.append("One seed of each method was trained, and another seed may change this choice.")
    open_gaps = [
        gap.interval.low for one in found.considered if (gap := one.to_best) and not gap.is_shown and gap.interval
    ]
    if open_gaps:
        few = "only " if found.rows < FEW_VALIDATION_ROWS else ""
        words.append(
            f"With {few}{count(found.rows)} validation rows a method may be worse than {printable(found.best)} by as "
            f"much as {points(min(open_gaps), signed=False)} points without it being shown."
        )
    words.append(f"{MISSING}: not measured, or the best itself.")
    return words


def _beaten_by_tfidf(comparison: Comparison, found: Recommendation) -> list[str]:
    """Return that the plain baseline, which is never chosen, scores as much on validation rows, where it does."""
    row, chosen = comparison.row(TFIDF), found.chosen
    score = row.validation_macro_f1 if row else None
    if chosen is None or score is None or score.mean < chosen.macro_f1.mean:
        return []
    return [
        f"{BASELINES[TFIDF]}, a baseline that is not considered, has a macro-F1 of {number(score.mean)} there, which "
        "is no less: it may be all that is needed."
    ]
