"""The numbers of a report: one row for each method, from finished runs alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.predictions import calibrated
from distilora.errors import RunError
from distilora.evaluation.calibration import Calibration, measure_calibration
from distilora.evaluation.records import Evaluation, Interval
from distilora.evaluation.score_intervals import ScoreIntervals, score_intervals
from distilora.evaluation.significance import PairTest, compare_methods
from distilora.report.records import MAJORITY, TFIDF, ClassScore, Comparison, Difference, MethodRow, Score, VoidRun
from distilora.runs import DataIdentity, Result, RunRecord

Runs = Sequence[RunRecord]


def compare_runs(records: Runs) -> Comparison:
    """Return one row for each method, with intervals over test rows, and each two methods tested on the same rows.

    Tested are all methods with kept predictions but the majority class, TF-IDF included, so that every sentence on
    two methods rests on one family of tests.

    Args:
        records: the finished runs of one experiment, void ones included, in any order.

    Raises:
        RunError: there are no runs, or they did not see the same data and splits.
    """
    data = _common_data(records)
    methods: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: (record.result.method, record.result.seed)):
        methods.setdefault(record.result.method, []).append(record)
    valid = {name: _valid(runs) for name, runs in methods.items()}
    rows = sorted((_method_row(name, runs, data) for name, runs in methods.items()), key=_rank)
    family = tuple(row.method for row in rows if row.method != MAJORITY and _stacked(valid[row.method]) is not None)
    comparison = Comparison(
        data=data,
        rows=tuple(rows),
        class_support=_class_support(records),
        teacher=_teacher(rows),
        best=_best(rows),
        family=family,
        pairs=_pairs({name: valid[name] for name in family}, classes=len(data.label_names)),
    )
    compared = [_with_differences(_with_flags(row, comparison), comparison) for row in rows]
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
    validations = [run.result.validation for run in valid]
    intervals, calibration = _intervals(valid, data.label_names), _calibration(valid)
    return {
        **_overall_scores(tests, intervals, calibration),
        "validation_macro_f1": _score([part.macro_f1 if part else None for part in validations]),
        "classes": {name: _class_score(tests, name, intervals) for name in data.label_names},
        "flags": ("one class",) if any(test.constant is not None for test in tests) else (),
        "confusion": tuple(map(tuple, np.mean([test.confusion for test in tests], axis=0).tolist())),
        "calibration": calibration,
    }


def _overall_scores(
    tests: Sequence[Evaluation], intervals: ScoreIntervals | None, calibration: Sequence[Calibration]
) -> dict[str, Score | None]:
    """Return each measure of all classes together; where logits were not kept, one seed still has its own intervals."""
    lone = tests[0] if len(tests) == 1 else None
    macro_f1, accuracy = (
        (intervals.macro_f1, intervals.accuracy)
        if intervals
        else (lone.macro_f1_interval if lone else None, lone.accuracy_interval if lone else None)
    )
    brier = [one.brier_score for one in calibration]
    errors = [one.expected_calibration_error for one in calibration]
    return {
        "macro_f1": _score([test.macro_f1 for test in tests], macro_f1),
        "accuracy": _score([test.accuracy for test in tests], accuracy),
        "weighted_f1": _score([test.weighted_f1 for test in tests], intervals.weighted_f1 if intervals else None),
        "log_loss": _score([test.log_loss for test in tests], intervals.log_loss if intervals else None),
        "roc_auc": _score([test.roc_auc for test in tests], intervals.roc_auc if intervals else None),
        "brier_score": _score(brier, intervals.brier_score if intervals else None),
        "expected_calibration_error": _score(errors, intervals.expected_calibration_error if intervals else None),
    }


def _class_score(tests: Sequence[Evaluation], name: str, intervals: ScoreIntervals | None) -> ClassScore:
    found = intervals.per_class[name] if intervals else None
    scores = [test.per_class[name] for test in tests]
    return ClassScore(
        precision=_known_score([one.precision for one in scores], found.precision if found else None),
        recall=_known_score([one.recall for one in scores], found.recall if found else None),
        f1=_known_score([one.f1 for one in scores], found.f1 if found else None),
    )


def _intervals(valid: Runs, label_names: Sequence[str]) -> ScoreIntervals | None:
    """Return the interval of every score, seeds averaged, where the logits of all seeds were kept."""
    stacked, logits = _stacked(valid), _test_logits(valid)
    if stacked is None or logits is None:
        return None
    probabilities = np.stack([calibrated(one, temperature=1.0) for one in logits]).astype(np.float64)
    return score_intervals(stacked[0], probabilities, label_names=label_names, predictions=stacked[1])


def _calibration(valid: Runs) -> tuple[Calibration, ...]:
    stacked, logits = _stacked(valid), _test_logits(valid)
    if stacked is None or logits is None:
        return ()
    return tuple(measure_calibration(one, stacked[0]) for one in logits)


def _test_logits(valid: Runs) -> list[NDArray[np.float32]] | None:
    """Return the test logits of each seed, shape (rows, classes), where all were kept."""
    kept = [run.test_logits for run in valid if run.test_logits is not None]
    return kept if len(kept) == len(valid) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _score(values: Sequence[float | None], interval: Interval | None = None) -> Score | None:
    known = [value for value in values if value is not None]
    return _known_score(known, interval) if known and len(known) == len(values) else None


def _known_score(values: Sequence[float], interval: Interval | None) -> Score:
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Score(mean=statistics.fmean(values), sd=sd, interval=interval)


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


def _pairs(family: Mapping[str, Runs], *, classes: int) -> tuple[PairTest, ...]:
    """Return the paired tests of every two methods, corrected together; none below two methods."""
    labels: list[NDArray[np.int64]] = []
    predictions: dict[str, NDArray[np.int64]] = {}
    for method, runs in family.items():
        if (stacked := _stacked(runs)) is not None:
            labels.append(stacked[0])
            predictions[method] = stacked[1]
            if not np.array_equal(labels[0], stacked[0]):
                first = next(iter(predictions))
                raise RunError(f"{first} and {method} hold different test labels: train one of them again")
    if len(predictions) < 2:
        return ()
    seeds = {method: [run.result.seed for run in family[method]] for method in predictions}
    return compare_methods(labels[0], predictions, classes=classes, run_seeds=seeds)


def _with_differences(row: MethodRow, comparison: Comparison) -> MethodRow:
    if row.is_baseline or row.is_void:
        return row
    others = {"to_teacher": comparison.teacher, "to_best": comparison.best, "to_tfidf": TFIDF}
    return row.model_copy(
        update={field: _difference(row, comparison.row(name), comparison) for field, name in others.items()}
    )


def _difference(row: MethodRow, other: MethodRow | None, comparison: Comparison) -> Difference | None:
    if other is None or row.method == other.method or row.macro_f1 is None or other.macro_f1 is None:
        return None
    tested = comparison.difference(row.method, other.method)
    if tested is not None:
        return tested
    value = row.macro_f1.mean - other.macro_f1.mean
    return Difference(other=other.method, value=value, interval=None, p_holm=None)
