"""What the probabilities of one method are worth: after the temperature, and with a threshold on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.manifest import Threshold
from distilora.bundles.predictions import calibrated
from distilora.errors import ConfigError
from distilora.evaluation.calibration import measure_calibration
from distilora.evaluation.curves import PrecisionRecallCurve, precision_recall_curve
from distilora.evaluation.intervals import RESAMPLES, resampled_scores
from distilora.evaluation.resampling import Classes, Scores, Tallies, class_indicators, corrected_interval
from distilora.evaluation.score_intervals import score_intervals
from distilora.evaluation.temperature import fit_temperature
from distilora.evaluation.thresholds import choose_threshold, parse_goal, positive_probability
from distilora.report.comparing.answers import Answers, seed_probabilities
from distilora.report.comparing.scores import known_score
from distilora.report.records import ThresholdScores
from distilora.runs import DataIdentity

POSITIVE = "positive"
"""Key of the curve of the positive classes together."""


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The answers of one method on test rows, after the temperature of each seed."""

    answers: Answers
    labels: Classes
    """Shape (rows,)."""
    temperatures: tuple[float, ...]
    probabilities: NDArray[np.float32]
    """Shape (seeds, rows, classes)."""
    positive: tuple[int, ...]
    """Positions of the positive classes."""

    def positive_scores(self) -> NDArray[np.float32]:
        """Return the probability of the positive classes together, shape (seeds, rows)."""
        return np.stack([positive_probability(one, self.positive) for one in self.probabilities])

    def is_positive(self) -> NDArray[np.bool_]:
        """Return whether each row truly is positive, shape (rows,)."""
        return np.isin(self.labels, self.positive)


def probability_fields(answers: Answers, data: DataIdentity, *, goal: str) -> dict[str, object]:
    """Return the fields of a method's row that rest on temperatures fitted to validation rows.

    None where a seed kept no logits of either part.

    Args:
        answers: of the method.
        data: names the classes, and the positive ones.
        goal: what thresholds are chosen for: f1, precision=P or recall=P.

    Raises:
        ConfigError: the goal is none of these.
    """
    fitted = _fitted(answers, data)
    if fitted is None:
        return {}
    thresholds = _thresholds(fitted, goal=goal)
    return {
        **_calibrated_errors(fitted, data.label_names),
        "positive": _threshold_scores(fitted, thresholds, goal=goal) if thresholds else None,
        "precision_recall": _curves(fitted, thresholds, data.label_names),
    }


def _fitted(answers: Answers, data: DataIdentity) -> _Fitted | None:
    truths, validation = answers.validation_labels, answers.validation_logits
    if answers.labels is None or answers.logits is None or truths is None or validation is None:
        return None
    if any(run.result.kind == "ensemble" for run in answers.runs):
        temperatures = tuple(1.0 for _ in validation)  # it is shipped without one: each of its members has its own
    else:
        temperatures = tuple(fit_temperature(one, truth) for one, truth in zip(validation, truths, strict=True))
    return _Fitted(
        answers=answers,
        labels=answers.labels,
        temperatures=temperatures,
        probabilities=seed_probabilities(answers.logits, temperatures),
        positive=tuple(data.label_names.index(name) for name in data.positive),
    )


def _calibrated_errors(fitted: _Fitted, label_names: Sequence[str]) -> dict[str, object]:
    logits = fitted.answers.logits
    pairs = zip([] if logits is None else logits, fitted.temperatures, strict=True)
    found = tuple(measure_calibration(one, fitted.labels, temperature=heat) for one, heat in pairs)
    shares = fitted.probabilities.astype(np.float64)
    intervals = score_intervals(fitted.labels, shares, label_names=label_names, with_areas=False)
    return {
        "calibrated": found,
        "calibrated_brier_score": known_score([one.brier_score for one in found], intervals.brier_score),
        "calibrated_error": known_score(
            [one.expected_calibration_error for one in found], intervals.expected_calibration_error
        ),
    }


def _thresholds(fitted: _Fitted, *, goal: str) -> list[Threshold]:
    """Return the threshold that serves the goal best on each seed's validation rows; none where it serves not all."""
    aim = parse_goal(goal)
    truths, validation = fitted.answers.validation_labels, fitted.answers.validation_logits
    if not fitted.positive or truths is None or validation is None:
        return []
    found = []
    for truth, logits, heat in zip(truths, validation, fitted.temperatures, strict=True):
        scores = positive_probability(calibrated(np.asarray(logits, np.float32), temperature=heat), fitted.positive)
        try:
            chosen = choose_threshold(scores, np.isin(truth, fitted.positive), goal=aim.goal, at_least=aim.at_least)
        except ConfigError:  # out of reach, or no row is positive
            return []
        found.append(chosen)
    return found


def _threshold_scores(fitted: _Fitted, thresholds: Sequence[Threshold], *, goal: str) -> ThresholdScores:
    limits = np.array([one.value for one in thresholds], dtype=np.float32)
    called = (fitted.positive_scores() >= limits[:, None]).astype(np.int64)  # (seeds, rows)
    truth = fitted.is_positive().astype(np.int64)
    values, draws = resampled_scores(truth, [called], _of_positive, classes=2, seed=0, resamples=RESAMPLES)
    indicators = class_indicators(truth, called, classes=2)
    without = _of_positive(Tallies(indicators.sum(axis=0, dtype=np.float64) - indicators, classes=2))
    each = [_of_positive(_tallies(truth, one))[0] for one in called]  # a seed each: precision, recall, F1
    precision, recall, f1 = (
        known_score(
            [float(scores[place]) for scores in each],
            corrected_interval(float(values[0, place]), draws[0, :, place], without=without[:, place]),
        )
        for place in range(3)
    )
    return ThresholdScores(
        goal=goal,
        threshold=known_score([one.value for one in thresholds]),
        precision=precision,
        recall=recall,
        f1=f1,
        validation_recall=known_score([one.recall for one in thresholds]),
    )


def _tallies(truth: Classes, called: Classes) -> Tallies:
    sums = class_indicators(truth, called[None], classes=2).sum(axis=0, dtype=np.float64)
    return Tallies(sums[None], classes=2)


def _of_positive(tallies: Tallies) -> Scores:
    """Return precision, recall and F1 of the second of two classes, shape (samples, 3)."""
    return np.stack([tallies.precision()[:, 1], tallies.recall()[:, 1], tallies.f1()[:, 1]], axis=1)


def _curves(
    fitted: _Fitted, thresholds: Sequence[Threshold], label_names: Sequence[str]
) -> dict[str, PrecisionRecallCurve]:
    """Return the curves of the seed that is best on validation; none of what no test row is."""
    best = fitted.answers.best_on_validation
    if fitted.positive:
        threshold = thresholds[best].value if thresholds else None
        curves = {
            POSITIVE: precision_recall_curve(fitted.positive_scores()[best], fitted.is_positive(), threshold=threshold)
        }
    else:
        shares = fitted.probabilities[best]
        curves = {
            name: precision_recall_curve(shares[:, code], fitted.labels == code)
            for code, name in enumerate(label_names)
        }
    return {name: curve for name, curve in curves.items() if curve is not None}
