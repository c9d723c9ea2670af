"""How much better one model answers than another on the same labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.evaluation.intervals import RESAMPLES
from distilora.evaluation.records import Interval
from distilora.evaluation.resampling import Classes
from distilora.evaluation.significance import compare_methods
from distilora.evaluation.suites.proportions import accuracy_change, with_holm
from distilora.evaluation.suites.records import Change


def answer_changes(
    first: Classes, other: Classes, labels: Classes, *, label_names: Sequence[str]
) -> tuple[Change, ...]:
    """Return how much better one model answers than another: macro-F1, accuracy, and the share right of each class.

    Args:
        first: predicted classes of the first model, shape (rows,).
        other: predicted classes of the other, same shape.
        labels: true classes, same shape.
        label_names: of the classes.
    """
    changes = [
        _macro_f1_change(first, other, labels, classes=len(label_names)),
        accuracy_change(first == labels, other == labels, family="all", name="all rows"),
    ]
    for code, name in enumerate(label_names):
        rows = labels == code
        if rows.any():
            changes.append(accuracy_change(first[rows] == code, other[rows] == code, family="class", name=name))
    return with_holm(changes)


def _macro_f1_change(first: Classes, other: Classes, labels: Classes, *, classes: int) -> Change:
    both = {"other": other[None], "first": first[None]}
    (found,) = compare_methods(labels, both, classes=classes, resamples=RESAMPLES)
    return Change(
        family="all",
        name="all rows",
        measure="macro_f1",
        rows=len(labels),
        value=found.value,
        interval=Interval(low=found.low, high=found.high),
        p=found.p,
    )
