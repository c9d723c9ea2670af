"""One plain passage on what each method costs to ship and to run."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.evaluation.costs import MethodCosts
from distilora.report.comparing.costs import TIMED_TOKENS, timed_ms
from distilora.report.foreground import MOST_AT_ONCE
from distilora.report.records import Comparison, CostRatio, MethodRow
from distilora.report.wording import first_of, listed, number, printable

_MOST_METHODS = 6
"""Of more methods than these only the least and the most are told."""


def cost_sentence(comparison: Comparison) -> str | None:
    """Return size and time of each method beside the teacher's; sizes of the weights where nothing was measured."""
    costs = comparison.costs
    known = [one for row in comparison.candidates if costs and (one := costs.of(row.method)) is not None]
    if not known:
        return _weights(comparison.candidates)
    beside = comparison.cost_ratios
    if len(known) > _MOST_METHODS:
        told = _ends(known)
    else:
        told = "; ".join(f"{printable(one.method)} {_measured(one)}{_beside(beside.get(one.method))}" for one in known)
    ratios = "; in brackets, how many times the teacher's" if beside and len(known) <= _MOST_METHODS else ""
    return f"All files to ship, and one text of {TIMED_TOKENS} tokens{ratios}: {told}.{_unlike(known)}"


def _measured(one: MethodCosts) -> str:
    time = timed_ms(one)
    return f"{number(one.size_mb, 1)} MB" + ("" if time is None else f", {number(time, 1)} ms")


def _beside(ratio: CostRatio | None) -> str:
    if ratio is None:
        return ""
    size = f"{_times(ratio.size)} times the size"
    return f" ({size})" if ratio.time is None else f" ({size}, {_times(ratio.time)} times the time)"


def _times(ratio: float) -> str:
    return number(ratio, 1 if ratio >= 0.95 else 2)


def _ends(known: Sequence[MethodCosts]) -> str:
    small, *_, large = sorted(known, key=lambda one: one.size_bytes)
    told = f"from {number(small.size_mb, 1)} MB ({printable(small.method)}) to {number(large.size_mb, 1)} MB "
    told += f"({printable(large.method)})"
    timed = sorted((time, one.method) for one in known if (time := timed_ms(one)) is not None)
    if not timed:
        return told
    (least, fast), (most, slow) = timed[0], timed[-1]
    return f"{told}, and from {number(least, 1)} ms ({printable(fast)}) to {number(most, 1)} ms ({printable(slow)})"


def _unlike(known: Sequence[MethodCosts]) -> str:
    """Return that models are not of like make, where some were exported as int8 and others not."""
    large = [one.method for one in known if one.precision == "fp32" and one.model == "bundle"]
    small = [one.method for one in known if one.precision == "int8"]
    if not large or not small:
        return ""
    are = "is" if len(large) == 1 else "are"
    return (
        f" {listed(first_of(large))} {are} fp32, {listed(first_of(small))} int8, which takes a quarter of the room for "
        "each weight: sizes and times tell of that as much as of the methods. A method is shipped as fp32 where int8 "
        "would change its answers."
    )


def _weights(rows: Sequence[MethodRow]) -> str | None:
    known = [f"{printable(row.method)} {number(row.size_mb, 1)} MB" for row in rows if row.size_mb is not None]
    if len(known) > MOST_AT_ONCE:
        sizes = [row.size_mb for row in rows if row.size_mb is not None]
        return (
            f"Time was not measured. The weights: from {number(min(sizes), 1)} to {number(max(sizes), 1)} MB; the "
            "table has each."
        )
    return f"Time was not measured. The weights: {'; '.join(known)}." if known else None
