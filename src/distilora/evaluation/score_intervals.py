"""95 % intervals of every score of a method, all on the same resampled rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.calibration import BINS, confidence_gaps, squared_errors
from distilora.evaluation.intervals import RESAMPLES
from distilora.evaluation.metrics import log_losses
from distilora.evaluation.ranking import RankedRows, ranked_classes, ranked_rows
from distilora.evaluation.records import Interval
from distilora.evaluation.resampling import (
    TAIL,
    Classes,
    Scores,
    Tallies,
    Weights,
    class_indicators,
    corrected_interval,
    require_shapes,
    row_weights,
)
from distilora.records import Record

Probabilities = NDArray[np.float64]


class ClassIntervals(Record):
    """Intervals of the scores of one class against all others."""

    precision: Interval
    recall: Interval
    f1: Interval


class ScoreIntervals(Record):
    """95 % intervals over rows of every score of one method, seeds averaged."""

    accuracy: Interval
    macro_f1: Interval
    weighted_f1: Interval
    log_loss: Interval
    """In nats."""
    roc_auc: Interval | None
    """Absent where a class has no rows, or where it was not asked for."""
    brier_score: Interval
    expected_calibration_error: Interval
    per_class: dict[str, ClassIntervals | None]
    """By class name, in the order of the label names; absent for a class without rows."""


def score_intervals(  # noqa: PLR0913 - what was predicted, and how it is resampled
    labels: Classes,
    probabilities: Probabilities,
    *,
    label_names: Sequence[str],
    predictions: Classes | None = None,
    with_areas: bool = True,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> ScoreIntervals:
    """Return the 95 % interval of every score, rows resampled and seeds averaged.

    All but that of the calibration error are BCa intervals. That error is never below 0, so resamples, noisier than
    the rows themselves, have more of it: plain percentiles held the true error in no sample at all of 500 rows of a
    well calibrated model. Here the draws are mirrored at the value, and the interval begins at 0 where a perfectly
    calibrated model would have as large an error in one sample of 40 or more: it held the truth in 88 to 99 %.

    Args:
        labels: true class of each row, shape (rows,).
        probabilities: by the model of each seed, shape (seeds, rows, classes).
        label_names: in the order of the classes.
        predictions: predicted class of each row, shape (seeds, rows); ``None``: the likeliest.
        with_areas: whether ROC AUC is measured too, which takes two thirds of the time.
        seed: of the resampling.
        resamples: how often the rows are drawn.

    Raises:
        ValueError: the shapes differ, there are no rows, or a class is out of range.

    Source:
        Efron (1987), https://doi.org/10.1080/01621459.1987.10478410, for BCa; Bröcker & Smith (2007),
        https://doi.org/10.1175/WAF993.1, for the error of a perfectly calibrated model.

    Example:
        >>> labels = np.array([0, 1, 1, 0] * 25)
        >>> probabilities = np.tile([[0.8, 0.2], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]], (25, 1))[None]
        >>> intervals = score_intervals(labels, probabilities, label_names=["no", "yes"])
        >>> intervals.accuracy.low < 0.75 < intervals.accuracy.high
        True
    """
    classes = len(label_names)
    if predictions is None:
        predictions = probabilities.argmax(axis=-1)
    require_shapes(labels, predictions, classes=classes)
    if probabilities.shape != (*predictions.shape, classes):
        raise ValueError(f"probabilities {probabilities.shape}: need {(*predictions.shape, classes)}")
    measured = _Measured(labels, probabilities, predictions, classes=classes, with_areas=with_areas)
    draws = [measured.scores(weights) for weights in row_weights(len(labels), seed=seed, resamples=resamples)]
    value, drawn, without = measured.value(), np.concatenate(draws), measured.without()  # (resamples, scores)
    intervals = [
        corrected_interval(float(value[index]), drawn[:, index], without=without[:, index])
        for index in range(measured.corrected)
    ]
    calibrated = measured.calibrated_errors(seed=seed, resamples=resamples)
    error = _mirrored(float(value[-1]), drawn[:, -1], calibrated=calibrated)
    support = np.bincount(labels, minlength=classes)
    return _record(intervals, error, label_names=label_names, support=support)


def _record(
    intervals: list[Interval], error: Interval, *, label_names: Sequence[str], support: NDArray[np.int64]
) -> ScoreIntervals:
    classes, every = len(label_names), iter(intervals)
    accuracy, macro_f1, weighted_f1 = (next(every) for _ in range(3))
    precision, recall, f1 = ([next(every) for _ in range(classes)] for _ in range(3))
    log_loss, brier_score = next(every), next(every)
    return ScoreIntervals(
        accuracy=accuracy,
        macro_f1=macro_f1,
        weighted_f1=weighted_f1,
        log_loss=log_loss,
        roc_auc=next(every, None),
        brier_score=brier_score,
        expected_calibration_error=error,
        per_class={
            name: ClassIntervals(precision=precision[c], recall=recall[c], f1=f1[c]) if support[c] else None
            for c, name in enumerate(label_names)
        },
    )


def _mirrored(value: float, draws: Scores, *, calibrated: Scores) -> Interval:
    """Return the basic interval of an error, from 0 where a perfectly calibrated model may have as much of it."""
    low, high = 2 * value - np.quantile(draws, [1 - TAIL, TAIL])
    if value <= np.quantile(calibrated, 1 - TAIL):
        low = 0.0
    return Interval(low=max(0.0, float(min(low, value))), high=float(max(high, value)))


class _Measured:
    """The rows of one method, ready to be scored under any weights.

    Columns of scores: accuracy, macro-F1, weighted F1; precision, recall and F1 of each class; log loss, Brier score;
    ROC AUC where it is asked for and every class has rows; last the calibration error.
    """

    def __init__(
        self,
        labels: Classes,
        probabilities: Probabilities,
        predictions: Classes,
        *,
        classes: int,
        with_areas: bool,
    ) -> None:
        self._classes = classes
        self._probabilities = probabilities
        self._indicators = class_indicators(labels, predictions, classes=classes)
        squares = np.stack([squared_errors(one, labels) for one in probabilities])  # (seeds, rows)
        losses = [np.stack([log_losses(one, labels) for one in probabilities]), squares]
        self._losses = np.stack([loss.mean(axis=0) for loss in losses], axis=1)  # (rows, 2)
        gaps = [confidence_gaps(one, labels, bins=BINS) for one in probabilities]
        self._bins = np.concatenate([np.eye(BINS)[which] for _, which in gaps], axis=1)  # (rows, seeds · bins)
        self._gaps = self._bins * np.repeat(np.stack([gap for gap, _ in gaps], axis=1), BINS, axis=1)
        self._splits = _splits(labels, probabilities) if with_areas else []
        features = np.concatenate([self._indicators, self._losses, self._gaps], axis=1)
        self._features = features.astype(np.float32)
        self.corrected = 3 + 3 * classes + 2 + bool(self._splits)
        """How many of the columns are to have a corrected interval: all but the last."""

    def value(self) -> Scores:
        """Return each score of the rows as they are, shape (scores,)."""
        return np.asarray(self.scores(np.ones((1, len(self._losses)), dtype=np.float32))[0])

    def scores(self, weights: Weights) -> Scores:
        """Return each score under each row of weights, shape (resamples, scores)."""
        rows, tallies = len(self._losses), self._indicators.shape[1]
        sums = (weights @ self._features).astype(np.float64)  # (resamples, features)
        areas = [np.mean([split.areas(weights) for split in self._splits], axis=0)[:, None]] if self._splits else []
        errors = np.abs(sums[:, tallies + 2 :]).sum(axis=1) / (rows * len(self._probabilities))
        counted = _counted(Tallies(sums[:, :tallies], classes=self._classes))
        losses = sums[:, tallies : tallies + 2] / rows
        return np.concatenate([counted, losses, *areas, errors[:, None]], axis=1)

    def without(self) -> Scores:
        """Return each score but the last on all rows but one, shape (rows, scores - 1)."""
        rows = len(self._losses)
        rest = self._indicators.sum(axis=0, dtype=np.float64) - self._indicators
        losses = (self._losses.sum(axis=0) - self._losses) / max(1, rows - 1)
        areas = [np.mean([split.without() for split in self._splits], axis=0)[:, None]] if self._splits else []
        return np.concatenate([_counted(Tallies(rest, classes=self._classes)), losses, *areas], axis=1)

    def calibrated_errors(self, *, seed: int, resamples: int) -> Scores:
        """Return calibration errors that these rows would have if confidences were the chances of being right.

        The same chance decides a row for all seeds, as rows hard for one are hard for all.
        """
        draw = np.random.default_rng(seed)
        confidences = self._probabilities.max(axis=2).astype(np.float32)  # (seeds, rows)
        seeds, rows = confidences.shape
        bins = np.split(self._bins.astype(np.float32), seeds, axis=1)
        errors = []
        for weights in np.array_split(np.arange(resamples), max(1, resamples * rows // 1_000_000)):
            chances = draw.random((len(weights), rows), dtype=np.float32)
            gaps = [
                np.abs((one - (chances < one)) @ own).sum(axis=1) for one, own in zip(confidences, bins, strict=True)
            ]
            errors.append(np.mean(gaps, axis=0) / rows)
        return np.concatenate(errors).astype(np.float64)


def _counted(tallies: Tallies) -> Scores:
    """Return the scores that depend on predictions alone, shape (samples, 3 + 3 · classes)."""
    means = np.stack([tallies.accuracy(), tallies.macro_f1(), tallies.weighted_f1()], axis=1)
    return np.concatenate([means, tallies.precision(), tallies.recall(), tallies.f1()], axis=1)


def _splits(labels: Classes, probabilities: Probabilities) -> list[RankedRows]:
    """Return the splits whose areas are averaged; none where a class has no rows. Two classes have one split."""
    which = ranked_classes(labels, classes=probabilities.shape[2])
    return [ranked_rows(labels == c, one[:, c]) for one in probabilities for c in which]
