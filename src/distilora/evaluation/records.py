"""Typed records of what was measured; what could not be measured is ``None``, never a number."""

from __future__ import annotations

from distilora.records import Record


class Interval(Record):
    """A 95 % confidence interval."""

    low: float
    high: float

    @property
    def leaves_out_zero(self) -> bool:
        """Return whether 0 lies outside; for the interval of a difference, whether there is one by itself.

        Example:
            >>> Interval(low=-0.02, high=0.01).leaves_out_zero, Interval(low=0.01, high=0.02).leaves_out_zero
            (False, True)
        """
        return not self.low <= 0 <= self.high


class ClassScores(Record):
    """Scores of one class against all others, each from 0 to 1; ``support`` is its number of rows."""

    precision: float
    recall: float
    f1: float
    support: int


class Evaluation(Record):
    """One model on one part of the data."""

    rows: int
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    weighted_f1: float
    log_loss: float
    """Mean negative log likelihood, in nats."""
    roc_auc: float | None
    """Area under the ROC curve, one class against the rest averaged equally; absent where a class has no rows."""
    per_class: dict[str, ClassScores]
    """By class name, in the order of the label names."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows: true class; columns: predicted class; both in the order of the label names."""
    constant: str | None
    """The class that every row was given, where it was always the same."""
