"""The numbers of a report: one row for each method, from finished runs alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distilora.errors import RunError
from distilora.evaluation.intervals import accuracy_interval, difference_interval, macro_f1_interval
from distilora.evaluation.records import Interval
from distilora.records import Record
from distilora.runs import DataIdentity, Result, RunRecord

Kind = Literal["baseline", "teacher", "student", "lora"]
Flag = Literal["one class", "below majority", "not above tfidf"]
MAJORITY, TFIDF = "majority", "tfidf"
BASELINES: Mapping[str, str] = {MAJORITY: "the majority class", TFIDF: "TF-IDF + logistic regression"}
"""What stands behind the names of the baselines."""


class Score(Record):
    """One measure of one method."""

    mean: float
    """Mean over seeds."""
    sd: float | None = None
    """Standard deviation over seeds (n - 1 below the sum); absent for one seed."""
    interval: Interval | None = None
    """Over test rows, the seeds averaged; absent where predictions were not kept."""


class Difference(Record):
    """How much more macro-F1 one method has than another, from -1 to 1."""

    other: str
    value: float
    interval: Interval | None
    """Over test rows, paired; absent where predictions were not kept."""

    @property
    def is_shown(self) -> bool:
        """Return whether the interval leaves out 0; without an interval nothing is shown."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high


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
    roc_auc: Score | None = None
    validation_macro_f1: Score | None = None
    class_f1: dict[str, float] | None = None
    """Mean F1 by class name, in the order of the label names."""
    confusion: tuple[tuple[float, ...], ...] | None = None
    """Mean counts; rows: true class, columns: predicted class."""
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

    data: DataIdentity
    rows: tuple[MethodRow, ...]
    class_support: dict[str, int]
    """Test rows of each class; empty where no run has a score."""
    teacher: str | None
    """The method that differences to the teacher are taken to."""
    best: str | None
    """The method with the best mean test macro-F1 among those that are no baseline."""

    def row(self, method: str | None) -> MethodRow | None:
        """Return the row of a method, or nothing where there is none."""
        return next((row for row in self.rows if row.method == method), None)

    @property
    def scored(self) -> tuple[MethodRow, ...]:
        """Return the rows that have a score, the best first."""
        return tuple(row for row in self.rows if not row.is_void)

    @property
    def candidates(self) -> tuple[MethodRow, ...]:
        """Return the rows that have a score and are no baseline, the best first."""
        return tuple(row for row in self.scored if not row.is_baseline)


Runs = Sequence[RunRecord]


def compare_runs(records: Runs) -> Comparison:
    """Return one row for each method, with intervals over test rows and paired differences in macro-F1.

    Args:
        records: the finished runs of one experiment, void ones included, in any order.

    Raises:
        RunError: there are no runs, or they did not see the same data and splits.
    """
    data = _common_data(records)
    methods: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: (record.result.method, record.result.seed)):
        methods.setdefault(record.result.method, []).append(record)
    rows = sorted((_method_row(name, runs, data) for name, runs in methods.items()), key=_rank)
    comparison = Comparison(
        data=data, rows=tuple(rows), class_support=_class_support(records), teacher=_teacher(rows), best=_best(rows)
    )
    valid = {name: _valid(runs) for name, runs in methods.items()}
    compared = [_with_differences(_with_flags(row, comparison), comparison, valid) for row in rows]
    return comparison.model_copy(update={"rows": tuple(compared)})


def _common_data(records: Runs) -> DataIdentity:
    if not records:
        raise RunError("there is no finished run to report on: run distilora compare first")
    first = records[0].result
    for result in (record.result for record in records):
        if _rows_seen(result) != _rows_seen(first):
            raise RunError(
                f"{result.method}, seed {result.seed}: its data or split is not that of {first.method}, seed "
                f"{first.seed}; only runs on the same rows can be compared: report on each experiment by itself"
            )
    return first.data


def _rows_seen(result: Result) -> DataIdentity:
    """Return which rows a run saw, whatever its file was called at the time."""
    return result.data.model_copy(update={"source": ""})


def _valid(runs: Runs) -> list[RunRecord]:
    return [run for run in runs if run.result.void is None and run.result.test is not None]


def _rank(row: MethodRow) -> tuple[float, str]:
    return (-row.macro_f1.mean if row.macro_f1 else 1.0, row.method)


def _method_row(method: str, runs: Runs, data: DataIdentity) -> MethodRow:
    valid = _valid(runs)
    costs = (valid or runs)[0].result
    return MethodRow(
        method=method,
        kind=costs.kind,
        seeds=tuple(run.result.seed for run in valid),
        void=tuple(VoidRun(seed=run.result.seed, reason=_void_reason(run.result)) for run in runs if run not in valid),
        parameters=costs.parameters,
        trainable_parameters=costs.trainable_parameters,
        size_bytes=costs.size_bytes,
        training_seconds=_mean([run.result.training_seconds for run in valid]),
        layers=costs.layers,
        **_scores(valid, data),
    )


def _void_reason(result: Result) -> str:
    return result.void or "it holds no scores on test rows"


def _scores(valid: Runs, data: DataIdentity) -> dict[str, object]:
    """Return the fields of a row that speak of scores; none where no run is valid."""
    tests = [run.result.test for run in valid if run.result.test is not None]
    if not tests:
        return {}
    classes = len(data.label_names)
    validations = [run.result.validation for run in valid]
    return {
        "macro_f1": _score([test.macro_f1 for test in tests], _interval(valid, "macro_f1", classes)),
        "accuracy": _score([test.accuracy for test in tests], _interval(valid, "accuracy", classes)),
        "weighted_f1": _score([test.weighted_f1 for test in tests]),
        "log_loss": _score([test.log_loss for test in tests]),
        "roc_auc": _score([test.roc_auc for test in tests]),
        "validation_macro_f1": _score([part.macro_f1 if part else None for part in validations]),
        "class_f1": {name: statistics.fmean(test.per_class[name].f1 for test in tests) for name in data.label_names},
        "flags": ("one class",) if any(test.constant is not None for test in tests) else (),
        "confusion": tuple(map(tuple, np.mean([test.confusion for test in tests], axis=0).tolist())),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _score(values: Sequence[float | None], interval: Interval | None = None) -> Score | None:
    mean = _mean(values)
    if mean is None:
        return None
    known = [value for value in values if value is not None]
    return Score(mean=mean, sd=statistics.stdev(known) if len(known) > 1 else None, interval=interval)


def _interval(valid: Runs, measure: Literal["macro_f1", "accuracy"], classes: int) -> Interval | None:
    if len(valid) == 1 and (test := valid[0].result.test) is not None:
        return test.macro_f1_interval if measure == "macro_f1" else test.accuracy_interval
    stacked = _stacked(valid)
    if stacked is None:
        return None
    interval = macro_f1_interval if measure == "macro_f1" else accuracy_interval
    return interval(*stacked, classes=classes)


def _stacked(valid: Runs) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the labels, shape (rows,), and the predictions of every seed, shape (seeds, rows), where all were kept."""
    kept = [(run.test_labels, run.test_predictions) for run in valid]
    labels = [truth for truth, _ in kept if truth is not None]
    predictions = [predicted for _, predicted in kept if predicted is not None]
    if not kept or len(labels) < len(kept) or len(predictions) < len(kept):
        return None
    if any(not np.array_equal(truth, labels[0]) for truth in labels):
        raise RunError(f"{valid[0].result.method}: its seeds hold different test labels: train the method again")
    return labels[0], np.stack(predictions)


def _class_support(records: Runs) -> dict[str, int]:
    tests = [run.result.test for run in _valid(records) if run.result.test is not None]
    return {name: scores.support for name, scores in tests[0].per_class.items()} if tests else {}


def _teacher(rows: Sequence[MethodRow]) -> str | None:
    """Return the scored method of kind teacher, the one of that very name where there are several."""
    teachers = [row.method for row in rows if row.kind == "teacher" and not row.is_void]
    return "teacher" if "teacher" in teachers else next(iter(teachers), None)


def _best(rows: Sequence[MethodRow]) -> str | None:
    return next((row.method for row in rows if not row.is_baseline and not row.is_void), None)


def _with_flags(row: MethodRow, comparison: Comparison) -> MethodRow:
    flags = list(row.flags)
    if not row.is_baseline and _is_below(row, comparison.row(MAJORITY), lambda other: other.accuracy):
        flags.append("below majority")
    tfidf = comparison.row(TFIDF)
    if not row.is_baseline and tfidf and row.macro_f1 and tfidf.macro_f1 and row.macro_f1.mean <= tfidf.macro_f1.mean:
        flags.append("not above tfidf")
    return row.model_copy(update={"flags": tuple(flags)})


def _is_below(row: MethodRow, other: MethodRow | None, measure: Callable[[MethodRow], Score | None]) -> bool:
    mine, theirs = measure(row), measure(other) if other else None
    return mine is not None and theirs is not None and mine.mean < theirs.mean


def _with_differences(row: MethodRow, comparison: Comparison, valid: Mapping[str, Runs]) -> MethodRow:
    if row.is_baseline or row.is_void:
        return row
    others = {"to_teacher": comparison.teacher, "to_best": comparison.best, "to_tfidf": TFIDF}
    found = {
        field: _difference(row, other, valid, classes=len(comparison.data.label_names))
        for field, name in others.items()
        if (other := comparison.row(name)) is not None
    }
    return row.model_copy(update=found)


def _difference(row: MethodRow, other: MethodRow, valid: Mapping[str, Runs], *, classes: int) -> Difference | None:
    if row.method == other.method or row.macro_f1 is None or other.macro_f1 is None:
        return None
    mine, theirs = _stacked(valid[row.method]), _stacked(valid[other.method])
    interval = None
    if mine is not None and theirs is not None:
        if not np.array_equal(mine[0], theirs[0]):
            raise RunError(f"{row.method} and {other.method} hold different test labels: train one of them again")
        interval = difference_interval(mine[0], mine[1], theirs[1], classes=classes)
    return Difference(other=other.method, value=row.macro_f1.mean - other.macro_f1.mean, interval=interval)
