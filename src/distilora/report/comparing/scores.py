"""The scores of one method over its seeds, with their intervals over test rows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from distilora.evaluation.calibration import Calibration, measure_calibration
from distilora.evaluation.records import Evaluation, Interval
from distilora.evaluation.score_intervals import ScoreIntervals, score_intervals
from distilora.report.comparing.answers import Answers, seed_probabilities
from distilora.report.records import ClassScore, Score


def score_fields(answers: Answers, *, label_names: Sequence[str]) -> dict[str, object]:
    """Return the fields of a method's row that tell its scores before any temperature; none where no run is valid.

    Args:
        answers: of the method.
        label_names: in the order of the logits.
    """
    tests = answers.tests
    if not tests:
        return {}
    validations = [run.result.validation for run in answers.runs]
    intervals = _intervals(answers, label_names)
    calibration = _calibration(answers)
    return {
        **_overall_scores(tests, intervals, calibration),
        "validation_macro_f1": score([part.macro_f1 if part else None for part in validations]),
        "classes": {name: _class_score(tests, name, intervals) for name in label_names},
        "flags": ("one class",) if any(test.constant is not None for test in tests) else (),
        "confusion": tuple(map(tuple, np.mean([test.confusion for test in tests], axis=0).tolist())),
        "calibration": calibration,
    }


def score(values: Sequence[float | None], interval: Interval | None = None) -> Score | None:
    """Return a measure over seeds, or nothing where a seed lacks it or there is none.

    Args:
        values: of each seed.
        interval: over test rows.

    Example:
        >>> score([0.5, 0.7]).mean, score([0.5, None])
        (0.6, None)
    """
    known = [value for value in values if value is not None]
    return known_score(known, interval) if known and len(known) == len(values) else None


def known_score(values: Sequence[float], interval: Interval | None = None) -> Score:
    """Return a measure over seeds; arguments as for :func:`score`, every value known and at least one."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Score(mean=statistics.fmean(values), sd=sd, interval=interval)


def _intervals(answers: Answers, label_names: Sequence[str]) -> ScoreIntervals | None:
    """Return the interval of every score, seeds averaged, where the logits of all seeds were kept."""
    if answers.labels is None or answers.logits is None:
        return None
    shares = seed_probabilities(answers.logits, [1.0] * len(answers.logits)).astype(np.float64)
    return score_intervals(answers.labels, shares, label_names=label_names, predictions=answers.predictions)


def _calibration(answers: Answers) -> tuple[Calibration, ...]:
    if answers.labels is None or answers.logits is None:
        return ()
    return tuple(measure_calibration(one, answers.labels) for one in answers.logits)


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
        "macro_f1": score([test.macro_f1 for test in tests], macro_f1),
        "accuracy": score([test.accuracy for test in tests], accuracy),
        "weighted_f1": score([test.weighted_f1 for test in tests], intervals.weighted_f1 if intervals else None),
        "log_loss": score([test.log_loss for test in tests], intervals.log_loss if intervals else None),
        "roc_auc": score([test.roc_auc for test in tests], intervals.roc_auc if intervals else None),
        "brier_score": score(brier, intervals.brier_score if intervals else None),
        "expected_calibration_error": score(errors, intervals.expected_calibration_error if intervals else None),
    }


def _class_score(tests: Sequence[Evaluation], name: str, intervals: ScoreIntervals | None) -> ClassScore:
    found = intervals.per_class[name] if intervals else None
    scores = [test.per_class[name] for test in tests]
    return ClassScore(
        precision=known_score([one.precision for one in scores], found.precision if found else None),
        recall=known_score([one.recall for one in scores], found.recall if found else None),
        f1=known_score([one.f1 for one in scores], found.f1 if found else None),
    )
