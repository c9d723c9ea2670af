"""How numbers and foreign text are put into words: the same in Markdown, HTML and figures."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

from distilora.data.opening import SUFFIXES
from distilora.evaluation.records import Interval

MISSING = "—"
"""Stands where there is no number."""
_MOST_TOLD, _FIRST_TOLD = 8, 4
"""Of more methods than the first number as many as the second are named."""
_BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    r"""Return foreign text on one line, with every character that cannot be shown or reverses others replaced.

    Example:
        >>> print(printable("two\nlines\x00"))
        two lines�
    """
    shown = ("\ufffd" if unicodedata.category(c) in {"Cc", "Cs"} or c in _BIDI_CONTROLS else c for c in _one_line(text))
    return "".join(shown)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def shortened(text: str, limit: int) -> str:
    """Return ``text`` made printable and, past ``limit`` characters, cut with an ellipsis.

    Example:
        >>> shortened("offensive language", 10)
        'offensive…'
    """
    clean = printable(text)
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def source_name(source: str) -> str:
    """Return a file of comments by its name alone, for a report may be published; another source as it is called.

    Example:
        >>> source_name("/home/me/comments.csv"), source_name("owner/name")
        ('comments.csv', 'owner/name')
    """
    path = PurePath(source)
    return printable(path.name if path.suffix.lower() in SUFFIXES else source)


def encoder_name(name: str) -> str:
    """Return a folder that an encoder was taken from by its name alone; another encoder as it is called.

    Example:
        >>> encoder_name("/home/me/bert"), encoder_name("minilm"), encoder_name("owner/name")
        ('bert', 'minilm', 'owner/name')
    """
    path = PurePath(name)
    return printable(path.name if path.is_absolute() or name.startswith(".") else name)


def number(value: float | None, decimals: int = 3) -> str:
    """Return a number with a true minus sign, or a dash where it is missing.

    Example:
        >>> number(-0.25, 2), number(None)
        ('−0.25', '—')
    """
    return MISSING if value is None else f"{value:.{decimals}f}".replace("-", "−")


def count(value: float | None) -> str:
    """Return a whole number with its thousands set apart, or a dash where it is missing.

    Example:
        >>> count(66956546)
        '66,956,546'
    """
    return MISSING if value is None else f"{value:,.0f}"


def percent(share: float) -> str:
    """Return a share as a percentage with three digits that count, at most one of them after the point.

    Example:
        >>> percent(0.7712), percent(0.9914), percent(1.0), percent(0.0026)
        ('77.1 %', '99.1 %', '100 %', '0.3 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 99.95 else f"{value:.1f} %"


def points(difference: float, *, signed: bool = True) -> str:
    """Return a difference of macro-F1 in points, 100 times its value.

    Example:
        >>> points(-0.0061), points(0.0073), points(0.0)
        ('−0.6', '+0.7', '0.0')
    """
    shown = f"{abs(100 * difference):.1f}"
    if float(shown) == 0 or not signed:
        return shown
    return ("−" if difference < 0 else "+") + shown


def span(interval: Interval | None, decimals: int = 3) -> str:
    """Return an interval as ``low to high``, or a dash where it is missing."""
    if interval is None:
        return MISSING
    return f"{number(interval.low, decimals)} to {number(interval.high, decimals)}"


def points_span(interval: Interval) -> str:
    """Return an interval of differences in points, so that rounding never puts 0 at the end of one that leaves it out.

    Example:
        >>> points_span(Interval(low=-0.019, high=0.007)), points_span(Interval(low=-0.008, high=-0.0002))
        ('−1.9 to +0.7', '−0.8 to just below 0')
    """
    return f"{_end(interval.low)} to {_end(interval.high)}"


def _end(value: float) -> str:
    told = points(value)
    return told if told != "0.0" or not value else f"just {'below' if value < 0 else 'above'} 0"


def goal_words(goal: str, at_least: float | None) -> str:
    """Return what a threshold serves, in words.

    Example:
        >>> goal_words("recall", 0.9), goal_words("f1", None)
        ('a recall of at least 0.9', 'the best F1')
    """
    return "the best F1" if at_least is None else f"a {goal} of at least {at_least:g}"


def duration(seconds: float | None) -> str:
    """Return a time in seconds below two minutes, else in minutes or hours.

    Example:
        >>> duration(12.34), duration(300), duration(9000), duration(None)
        ('12.3 s', '5.0 min', '2.5 h', '—')
    """
    if seconds is None:
        return MISSING
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def listed(names: Sequence[str]) -> str:
    """Return names as English lists them.

    Example:
        >>> listed(["odd", "even", "lora"])
        'odd, even and lora'
    """
    return _joined(names, " and ")


def either(names: Sequence[str]) -> str:
    """Return names of which one is meant.

    Example:
        >>> either(["odd", "even", "lora"])
        'odd, even or lora'
    """
    return _joined(names, " or ")


def _joined(names: Sequence[str], last: str) -> str:
    shown = [printable(name) for name in names]
    return last.join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def first_of(told: Sequence[str], *, most: int = _MOST_TOLD, shown: int = _FIRST_TOLD, see: str = "") -> list[str]:
    """Return what is told of several things; of too many the first alone, and how many more there are.

    Args:
        told: of each, the most important first.
        most: things that are all told.
        shown: how many are told where there are more than that.
        see: where the others are found.

    Example:
        >>> first_of(["odd", "even"]), first_of(list("abcdefghi"), see="the table")
        (['odd', 'even'], ['a', 'b', 'c', 'd', '5 more, see the table'])
    """
    if len(told) <= most:
        return list(told)
    more = f"{len(told) - shown} more"
    return [*told[:shown], f"{more}, see {see}" if see else more]


def counted(amount: int, noun: str) -> str:
    """Return an amount with its noun, in the plural where it is not one.

    Example:
        >>> counted(1, "seed"), counted(3, "seed")
        ('1 seed', '3 seeds')
    """
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")


def p_words(p: float) -> str:
    """Return a p with three decimals, never as 0.

    Example:
        >>> p_words(0.0314), p_words(0.00031)
        ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
