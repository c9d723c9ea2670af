"""What a report knows: one record for each method and one for the whole, kept as ``comparison.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from distilora.analysis.records import LayerAnalysis
from distilora.evaluation.assessments import Assessment
from distilora.evaluation.calibration import Calibration
from distilora.evaluation.costs import ExperimentCosts, MethodCosts
from distilora.evaluation.curves import PrecisionRecallCurve
from distilora.evaluation.disagreements import Disagreements
from distilora.evaluation.label_errors import LabelErrors
from distilora.evaluation.records import Interval
from distilora.evaluation.robustness.drops import NoiseDrop
from distilora.evaluation.significance import PairTest
from distilora.records import Record
from distilora.report.adapting_records import Adapted, SeedEvent
from distilora.report.layer_records import LayerMeans
from distilora.report.run_records import MadeWith, SeedRow, SeedSearch
from distilora.runs import DataIdentity, RunKind

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


class ClassChange(Record):
    """How much higher the recall of one class is than the teacher's, from -1 to 1; below 0 is worse."""

    name: str
    rows: int
    """Test rows of the class."""
    value: float
    interval: Interval
    """Over test rows, paired, the seeds averaged; of this change alone."""
    p: float
    """Two-sided, exact (sign flips), so that it holds for few rows too."""
    p_holm: float
    """Corrected for all classes of all methods."""

    @property
    def is_shown(self) -> bool:
        """Return whether p, corrected, is below 0.05."""
        return self.p_holm < LEVEL


class ThresholdScores(Record):
    """The positive classes against all others, each seed at the threshold that was chosen on its validation rows."""

    goal: str
    """What the threshold serves: f1, precision=P or recall=P."""
    threshold: Score
    """Of the summed probability of the positive classes, after the temperature; no interval."""
    precision: Score
    """On test rows, as are the next two."""
    recall: Score
    f1: Score
    validation_recall: Score
    """No interval."""


class VoidRun(Record):
    """A run whose numbers would mean nothing."""

    seed: int
    reason: str


class MethodRow(Record):
    """One method over its seeds; a measure that any valid seed lacks is absent."""

    method: str
    kind: RunKind
    seeds: tuple[int, ...]
    """Of the valid runs."""
    by_seed: tuple[SeedRow, ...] = ()
    """Each valid run by itself; all other numbers are over seeds."""
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
    calibrated: tuple[Calibration, ...] = ()
    """The same at the temperature that fits the seed's validation rows best."""
    calibrated_brier_score: Score | None = None
    calibrated_error: Score | None = None
    """Expected calibration error after the temperature."""
    positive: ThresholdScores | None = None
    """Absent where the data names no positive classes."""
    precision_recall: dict[str, PrecisionRecallCurve] = Field(default_factory=dict)
    """Of the seed that is best on validation, after its temperature: of the positive classes together under the key
    ``positive``; where the data names none, of each class against all others under its name."""
    parameters: int | None = None
    trainable_parameters: int | None = None
    size_bytes: int | None = None
    training_seconds: float | None = None
    """Mean over valid seeds."""
    training_memory_mib: float | None = None
    """The most of any valid seed; absent where a seed lacks it."""
    noise: tuple[NoiseDrop, ...] = ()
    """The drop in macro-F1 under each kind of noise; empty where a valid seed was not asked."""
    disagreements: Disagreements | None = None
    """With the teacher, mean probabilities over seeds; absent for the teacher, baselines, and without texts."""
    class_changes: tuple[ClassChange, ...] = ()
    """Recall of each class against the teacher's; empty for the teacher and baselines."""
    layers: tuple[int, ...] | None = None
    """Absent where all are kept, or seeds differ."""
    layer_searches: tuple[SeedSearch, ...] = ()
    """Of each valid run whose layers were searched."""
    adapted: Adapted = Adapted()
    """Of the valid runs."""
    events: tuple[SeedEvent, ...] = ()
    """What the monitor saw in training, of void runs too."""
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


class Limits(Record):
    """What a recommended model must keep to; what is absent is no limit."""

    max_size_mb: float | None = None
    """All that is shipped, in 10^6 bytes."""
    max_latency_ms: float | None = None
    """95 of 100 times, one text of the longest measured length."""
    min_recall: float | None = None
    """Of the positive classes together on validation rows, at the chosen threshold."""

    @property
    def any(self) -> bool:
        """Return whether there is a limit."""
        return any(limit is not None for limit in (self.max_size_mb, self.max_latency_ms, self.min_recall))


Failing = Literal["worse", "size", "latency", "recall", "dearer", "lower"]
"""Why a method is not recommended.

It is shown to be worse than the best; too large, too slow or blind to too much (or that was not measured); dearer than
another that is as good; or not better on validation than another that costs the same or keeps to the limits.
"""


class Considered(Record):
    """One method that could be recommended, on validation rows alone."""

    method: str
    macro_f1: Score
    """On validation rows; no interval."""
    to_best: Difference | None
    """On validation rows, corrected (Holm) for all methods but the best; absent for the best itself."""
    size_mb: float | None
    """All that is shipped where it was measured, else the weights."""
    latency_ms: float | None
    """p50 of one text of 64 tokens; absent where it was not measured."""
    slow_latency_ms: float | None
    """p95 of one text of the longest measured length."""
    recall: float | None
    """Of the positive classes at the threshold, mean over seeds; absent where the data names none."""
    failing: Failing | None
    """Absent for the recommended method."""


class CostRatio(Record):
    """What a method's model costs in that of the teacher's."""

    size: float
    time: float | None
    """Of the p50 of one text of 64 tokens; absent where it was not timed, or a bundle stands beside a trained run."""


class Recommendation(Record):
    """Which method to ship, chosen on validation rows alone."""

    rule: Literal["cheapest", "limits"]
    """The cheapest that is not shown to be worse than the best; or the best that keeps to the limits."""
    limits: Limits
    rows: int
    """Validation rows."""
    best: str
    """The method with the best mean validation macro-F1."""
    method: str | None
    """Absent where none keeps to the limits."""
    considered: tuple[Considered, ...]
    """Best validation macro-F1 first."""

    def of(self, method: str | None) -> Considered | None:
        """Return what is known of a method, or nothing where it was not considered."""
        return next((one for one in self.considered if one.method == method), None)

    @property
    def chosen(self) -> Considered | None:
        """Return what is known of the recommended method, or nothing where none is."""
        return self.of(self.method)


class Comparison(Record):
    """Every method of one experiment, best mean test macro-F1 first, those without a score last."""

    format: Literal[1] = 1
    data: DataIdentity
    methods: tuple[MethodRow, ...]
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
    recommendation: Recommendation | None = None
    """Absent where no method has validation scores."""
    costs: ExperimentCosts | None = None
    """Absent where they were not measured."""
    cost_ratios: dict[str, CostRatio] = Field(default_factory=dict)
    """Of each measured method but the teacher itself; empty where the teacher was not measured."""
    noise_rows: int | None = None
    """Test rows that were answered with noise; absent where none were."""
    label_errors: LabelErrors | None = None
    """Test rows whose label is likely wrong, by the mean probabilities of all seeds of the best method."""
    layers: tuple[LayerAnalysis, ...] = ()
    """Of each seed's teacher."""
    layer_means: LayerMeans | None = None
    """Of all seeds together; absent where ``layers`` is empty."""
    suites: tuple[Assessment, ...] = ()
    """Of hard cases and groups; the first model is the teacher's, the path of each is its method."""
    made_with: MadeWith = MadeWith()
    """Encoder, versions and machine of all runs, void ones included."""

    def row(self, method: str | None) -> MethodRow | None:
        """Return the row of a method, or nothing where there is none."""
        return next((row for row in self.methods if row.method == method), None)

    @property
    def recommended(self) -> str | None:
        """Return the method to ship, or nothing where none is recommended."""
        return self.recommendation.method if self.recommendation else None

    def costs_of(self, method: str) -> MethodCosts | None:
        """Return what a method's model was measured to cost, or nothing where it was not."""
        return self.costs.of(method) if self.costs else None

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
        return tuple(row for row in self.methods if not row.is_void)

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
