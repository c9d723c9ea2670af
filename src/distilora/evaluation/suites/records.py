"""Typed records of what suites find; what could not be measured is ``None``, never a number."""

from __future__ import annotations

from typing import Literal

from distilora.evaluation.records import Interval
from distilora.records import Record

SIGNIFICANCE = 0.05
"""A change is told as one where its p, corrected for all changes that were looked at, is below this."""

Family = Literal["all", "class", "label", "functional test", "target group", "identity"]
Measure = Literal["accuracy", "macro_f1", "overall_auc", "subgroup_auc", "bpsn_auc", "bnsp_auc"]


class GroupAccuracy(Record):
    """How many rows of one group are right."""

    name: str
    rows: int
    correct: int
    accuracy: float
    interval: Interval
    """Wilson's, which takes the rows as drawn independently."""


class FunctionalTest(GroupAccuracy):
    """One functional test of HateCheck."""

    expected: Literal["hateful", "non-hateful"] | None
    """The right answer to all its cases; absent where they differ."""


class HateCheckScores(Record):
    """One model on HateCheck; groups with the lowest accuracy first."""

    overall: GroupAccuracy
    said_hateful: float
    """Share of all cases that the model calls hateful, from 0 to 1: near 0 or 1, it does not tell them apart."""
    labels: tuple[GroupAccuracy, ...]
    """Of the hateful cases, and of the others."""
    functionalities: tuple[FunctionalTest, ...]
    targets: tuple[GroupAccuracy, ...]


class Auc(Record):
    """Area under the ROC curve: how often a positive row has the higher score than a negative one, ties half."""

    value: float
    interval: Interval
    """Bootstrap, positive and negative rows resampled each by themselves."""
    positives: int
    negatives: int


class IdentityGroup(Record):
    """One identity group; an AUC is absent where either of its two sets of rows is too small."""

    name: str
    rows: int
    positives: int
    subgroup_auc: Auc | None
    """Positive against negative rows of the group."""
    bpsn_auc: Auc | None
    """Background positive, subgroup negative: low where harmless rows of the group get high scores."""
    bnsp_auc: Auc | None
    """Background negative, subgroup positive: low where harmful rows of the group get low scores."""


class IdentityScores(Record):
    """One model on rows that say which identities they mention; groups with the lowest AUC first, unmeasured last."""

    rows: int
    positives: int
    overall: Auc | None
    groups: tuple[IdentityGroup, ...]
    subgroup_mean: float | None
    """Generalised mean, power -5, over the groups that have this AUC; absent where none has. So are the next two."""
    bpsn_mean: float | None
    bnsp_mean: float | None
    final: float | None
    """Mean of the overall AUC and the three generalised means; absent where one of them is."""


class Change(Record):
    """How much higher one model scores than the first, on the same rows; below 0 is worse."""

    family: Family
    name: str
    measure: Measure
    rows: int
    value: float
    interval: Interval
    """Paired; of this change alone, so of twenty such intervals about one leaves out 0 by chance."""
    p: float | None
    """Two-sided; absent where no test is made."""
    p_holm: float | None = None
    """Corrected for all changes of the model; absent where p is."""

    @property
    def is_shown(self) -> bool:
        """Return whether the change is more than chance would give among so many."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANCE
