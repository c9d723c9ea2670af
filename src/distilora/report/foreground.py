"""Which methods stand in the foreground where there are more of them than a figure or a wide table has room for."""

from __future__ import annotations

from distilora.report.records import TFIDF, Comparison
from distilora.report.wording import printable

MOST_AT_ONCE = 12
"""Methods that a figure with a colour or a panel for each still has room for."""
_SHOWN = 10
_REFERENCES = ("odd", TFIDF)
"""What other methods are held against, beside the teacher."""


def is_crowded(comparison: Comparison) -> bool:
    """Return whether there are more methods with a score than can be told apart at once."""
    return len(comparison.scored) > MOST_AT_ONCE


def foreground(comparison: Comparison) -> Comparison:
    """Return a comparison of the ten methods that matter most, in their order; of up to twelve the comparison itself.

    Those are the recommended one, the best, the teacher, the plain odd student, TF-IDF, and then the next best.
    """
    names = _foreground_names(comparison)
    if not is_crowded(comparison):
        return comparison
    suites = tuple(
        suite.model_copy(
            update={"models": tuple(one for i, one in enumerate(suite.models) if i == 0 or one.path in names)}
        )
        for suite in comparison.suites
    )
    rows = tuple(row for row in comparison.methods if row.method in names)
    return comparison.model_copy(update={"methods": rows, "suites": suites})


def foreground_note(comparison: Comparison, *, where: str) -> str:
    """Return which methods a figure or table is of and where the others are, to be put after another sentence.

    Args:
        comparison: of all methods.
        where: what tells of the others, such as ``the table has all``.

    Returns:
        Nothing where all are shown.
    """
    if not is_crowded(comparison):
        return ""
    names = _foreground_names(comparison)
    special = {
        "the recommended one": comparison.recommended,
        "the teacher": comparison.teacher,
        **{printable(name): name for name in _REFERENCES},
    }
    told = ", ".join(dict.fromkeys(words for words, name in special.items() if name in names))
    return f" Of {len(comparison.scored)} methods {len(names)} are shown ({told} and the best others); {where}."


def _foreground_names(comparison: Comparison) -> set[str]:
    scored = [row.method for row in comparison.scored]
    first = [comparison.recommended, comparison.best, comparison.teacher, *_REFERENCES]
    order = dict.fromkeys([*(name for name in first if name in scored), *scored])
    return {name for name in list(order)[:_SHOWN] if name is not None}
