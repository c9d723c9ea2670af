"""HateCheck: functional tests of hate speech detection, hard cases one kind at a time.

Source: Röttger et al. (2021), HateCheck: Functional Tests for Hate Speech Detection Models, ACL,
https://aclanthology.org/2021.acl-long.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.suites.proportions import accuracy_change, group_accuracy, with_holm
from distilora.evaluation.suites.records import Change, Family, FunctionalTest, GroupAccuracy, HateCheckScores

Masks = dict[str, NDArray[np.bool_]]
AnyGroup = TypeVar("AnyGroup", bound=GroupAccuracy)


@dataclass(frozen=True, eq=False)
class HateCheckCases:
    """What is known of each test case, one entry a case."""

    hateful: NDArray[np.bool_]
    """The right answers, shape (cases,)."""
    functionalities: Sequence[str]
    targets: Sequence[str | None]
    """The group that a case speaks of; ``None`` where it speaks of none."""

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, and no case at all."""
        lengths = {len(self.hateful), len(self.functionalities), len(self.targets)}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError(f"cases: columns of {sorted(lengths)} entries; need one each for every case")

    def masks(self) -> dict[Family, Masks]:
        """Return which cases belong to each group, by family and name, each mask of shape (cases,)."""
        labels = {"hateful": self.hateful, "non-hateful": ~self.hateful}
        return {
            "label": {name: mask for name, mask in labels.items() if mask.any()},
            "functional test": _by_name(self.functionalities),
            "target group": _by_name(self.targets),
        }


def hatecheck_scores(said_hateful: NDArray[np.bool_], cases: HateCheckCases) -> HateCheckScores:
    """Return a model's accuracy over all cases, in each functional test and for each target group, worst first.

    Args:
        said_hateful: whether the model calls each case hateful, shape (cases,).
        cases: what is known of them.

    Raises:
        ValueError: ``said_hateful`` has another shape.

    Example:
        >>> hateful, tests = np.array([True, True, False]), ["threat", "threat", "negated"]
        >>> cases = HateCheckCases(hateful, tests, targets=["women", None, None])
        >>> scores = hatecheck_scores(np.array([True, True, True]), cases)
        >>> [(test.name, test.accuracy) for test in scores.functionalities]
        [('negated', 0.0), ('threat', 1.0)]
    """
    right = _right(said_hateful, cases)
    masks = cases.masks()
    return HateCheckScores(
        overall=group_accuracy("all cases", right),
        said_hateful=float(said_hateful.mean()),
        labels=_accuracies(right, masks["label"]),
        functionalities=_worst_first(
            [_functional_test(name, right, mask, cases) for name, mask in masks["functional test"].items()]
        ),
        targets=_accuracies(right, masks["target group"]),
    )


def hatecheck_changes(first: NDArray[np.bool_], other: NDArray[np.bool_], cases: HateCheckCases) -> tuple[Change, ...]:
    """Return how much more accurate one model is than another: overall, then group by group, corrected together.

    Args:
        first: whether the first model calls each case hateful, shape (cases,).
        other: whether the other does, same shape.
        cases: what is known of them.

    Raises:
        ValueError: a shape is another.
    """
    before, after = _right(first, cases), _right(other, cases)
    changes = [accuracy_change(before, after, family="all", name="all cases")]
    for family, masks in cases.masks().items():
        changes += [
            accuracy_change(before[mask], after[mask], family=family, name=name) for name, mask in masks.items()
        ]
    return with_holm(changes)


def _right(said_hateful: NDArray[np.bool_], cases: HateCheckCases) -> NDArray[np.bool_]:
    if said_hateful.shape != cases.hateful.shape:
        raise ValueError(f"answers of shape {said_hateful.shape} for {len(cases.hateful)} cases: need one each")
    return np.asarray(said_hateful == cases.hateful)


def _by_name(names: Sequence[str | None]) -> Masks:
    column = np.array([name or "" for name in names], dtype=object)
    return {name: column == name for name in sorted({name for name in names if name})}


def _functional_test(
    name: str, right: NDArray[np.bool_], mask: NDArray[np.bool_], cases: HateCheckCases
) -> FunctionalTest:
    answers = np.unique(cases.hateful[mask])
    expected: Literal["hateful", "non-hateful"] = "hateful" if answers[0] else "non-hateful"
    accuracy = group_accuracy(name, right[mask])
    return FunctionalTest(**accuracy.model_dump(), expected=expected if len(answers) == 1 else None)


def _accuracies(right: NDArray[np.bool_], masks: Masks) -> tuple[GroupAccuracy, ...]:
    return _worst_first([group_accuracy(name, right[mask]) for name, mask in masks.items()])


def _worst_first(groups: Sequence[AnyGroup]) -> tuple[AnyGroup, ...]:
    return tuple(sorted(groups, key=lambda group: (group.accuracy, -group.rows, group.name)))
