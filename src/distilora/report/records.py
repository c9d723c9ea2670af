"""What a report knows: one record for each method and one for the whole, kept as ``comparison.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from distilora.evaluation.calibration import Calibration
from distilora.evaluation.records import Interval
from distilora.evaluation.significance import PairTest
from distilora.records import Record
from distilora.runs import DataIdentity

Kind = Literal["baseline", "teacher", "student", "lora"]
Flag = Literal["one class", "below majority", "not above tfidf"]
MAJORITY, TFIDF = "majority", "tfidf"
BASELINES: Mapping[str, str] = {MAJORITY: "the majority class", TFIDF: "TF-IDF + logistic regression"}
"""What stands behind the names of the baselines."""
LEVEL = 0.05
"""A difference is found where its p, corrected for all pairs, is below this."""
FEW_ROWS = 10
"""With fewer test rows of a class, intervals are known to be too narrow."""


class Score(Record):
    """One measure of one method."""

    mean: float
    """Mean over seeds."""
    sd: float | None = None
    """Standard deviation over seeds (n - 1 below the sum); absent for one seed."""
    interval: Interval | None = None
    """95 %, over test rows, the seeds averaged; absent where logits were not kept."""


class ClassScore(Record):
    """The scores of one class against all others."""

    precision: Score
    recall: Score
    f1: Score


class Difference(Record):
    """How much more macro-F1 one method has than another, from -1 to 1."""

    other: str
    value: float
    interval: Interval | None
    """Over test rows, paired, not corrected; absent where predictions were not kept."""
    p_holm: float | None
    """Corrected for all pairs of the comparison; absent as the interval is."""

    @property
    def is_shown(self) -> bool:
        """Return whether p, corrected, is below 0.05; without p nothing is shown."""
        return self.p_holm is not None and self.p_holm < LEVEL


class VoidRun(Record):
    """A run whose numbers would mean nothing."""

    seed: int
    reason: str


class MethodRow(Record):
    """One method over its seeds; a measure that any valid seed lacks is absent."""

    method: str
    kind: Kind
    seeds: tuple[int, ...]
    """Of the valid runs."""
    void: tuple[VoidRun, ...] = ()
    macro_f1: Score | None = None
    accuracy: Score | None = None
    weighted_f1: Score | None = None
    log_loss: Score | None = None
    """In nats."""
    roc_auc: Score | None = None
    brier_score: Score | None = None
    """From 0, the best, to 2; of the probabilities as they are, before any temperature."""
    expected_calibration_error: Score | None = None
    """From 0, the best, to 1; before any temperature."""
    validation_macro_f1: Score | None = None
    classes: dict[str, ClassScore] | None = None
    """By class name, in the order of the label names."""
    confusion: tuple[tuple[float, ...], ...] | None = None
    """Mean counts; rows: true class, columns: predicted class."""
    calibration: tuple[Calibration, ...] = ()
    """Of each seed, in their order, at temperature 1; empty where logits were not kept."""
    parameters: int | None = None
    trainable_parameters: int | None = None
    size_bytes: int | None = None
    training_seconds: float | None = None
    """Mean over valid seeds."""
    layers: tuple[int, ...] | None = None
    flags: tuple[Flag, ...] = ()
    to_teacher: Difference | None = None
    to_best: Difference | None = None
    """To the best method that is no baseline; absent for that method itself."""
    to_tfidf: Difference | None = None

    @property
    def is_baseline(self) -> bool:
        """Return whether the method is there only to be compared with."""
        return self.kind == "baseline"

    @property
    def is_void(self) -> bool:
        """Return whether no run of the method has a score."""
        return self.macro_f1 is None

    @property
    def size_mb(self) -> float | None:
        """Return the size of the weights in megabytes of 10^6 bytes."""
        return None if self.size_bytes is None else self.size_bytes / 1e6


class Comparison(Record):
    """Every method of one experiment, best mean test macro-F1 first, those without a score last."""

    format: Literal[1] = 1
    data: DataIdentity
    rows: tuple[MethodRow, ...]
    class_support: dict[str, int]
    """Test rows of each class; empty where no run has a score."""
    teacher: str | None
    """The method that differences to the teacher are taken to."""
    best: str | None
    """The method with the best mean test macro-F1 among those that are no baseline."""
    family: tuple[str, ...] = ()
    """The methods whose pairs are tested and corrected for together: those with kept predictions but the majority."""
    pairs: tuple[PairTest, ...] = ()
    """Each two methods of the family once, the one with the better macro-F1 first."""

    def row(self, method: str | None) -> MethodRow | None:
        """Return the row of a method, or nothing where there is none."""
        return next((row for row in self.rows if row.method == method), None)

    def difference(self, method: str, other: str) -> Difference | None:
        """Return how much more macro-F1 a method has than another, or nothing where the two are no tested pair."""
        for pair in self.pairs:
            if (pair.first, pair.second) == (method, other):
                interval = Interval(low=pair.low, high=pair.high)
                return Difference(other=other, value=pair.value, interval=interval, p_holm=pair.p_holm)
            if (pair.second, pair.first) == (method, other):
                interval = Interval(low=0.0 - pair.high, high=0.0 - pair.low)
                return Difference(other=other, value=0.0 - pair.value, interval=interval, p_holm=pair.p_holm)
        return None

    @property
    def scored(self) -> tuple[MethodRow, ...]:
        """Return the rows that have a score, the best first."""
        return tuple(row for row in self.rows if not row.is_void)

    @property
    def candidates(self) -> tuple[MethodRow, ...]:
        """Return the rows that have a score and are no baseline, the best first."""
        return tuple(row for row in self.scored if not row.is_baseline)

    @property
    def contenders(self) -> tuple[MethodRow, ...]:
        """Return the candidates but the best that are not shown to be worse than it."""
        others = (row for row in self.candidates if row.method != self.best)
        return tuple(row for row in others if row.to_best is None or not row.to_best.is_shown)

    @property
    def scarce_classes(self) -> dict[str, int]:
        """Return the classes with fewer than 10 test rows, and how many they have."""
        return {name: rows for name, rows in self.class_support.items() if rows < FEW_ROWS}
