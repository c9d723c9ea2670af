"""Where methods differ from the teacher and the data: single rows, classes, and under noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from distilora.evaluation.disagreements import Disagreements, find_disagreements
from distilora.evaluation.intervals import RESAMPLES, resampled_scores
from distilora.evaluation.label_errors import LabelErrors, find_label_errors
from distilora.evaluation.labelled_texts import LabelledTexts, mean_probabilities
from distilora.evaluation.resampling import Tallies, symmetric_interval
from distilora.evaluation.robustness.answers import NoisyAnswers
from distilora.evaluation.robustness.drops import NoiseDrop, robustness
from distilora.report.answers import Answers
from distilora.report.records import ClassChange


def class_changes(
    teacher: Answers, others: Sequence[Answers], *, label_names: Sequence[str]
) -> dict[str, tuple[ClassChange, ...]]:
    """Return how much higher each method's recall of each class is than the teacher's; by method.

    All methods are measured on the same resampled rows. What kept no predictions is left out, as is a class without
    test rows.

    Args:
        teacher: its answers.
        others: those of the methods that are held against it.
        label_names: in the order of the classes.

    Raises:
        RunError: two methods hold different test labels.
    """
    labels = teacher.labels
    kept = [one for one in (teacher, *others) if one.predictions is not None]
    if labels is None or len(kept) < 2:
        return {}
    for one in kept:
        teacher.require_labels(one)
    predictions = [one.predictions for one in kept if one.predictions is not None]
    values, draws = resampled_scores(
        labels, predictions, Tallies.recall, classes=len(label_names), seed=0, resamples=RESAMPLES
    )  # (methods, classes), (methods, resamples, classes)
    support = np.bincount(labels, minlength=len(label_names))
    changes: dict[str, tuple[ClassChange, ...]] = {}
    for one, value, drawn in zip(kept[1:], values[1:] - values[0], draws[1:] - draws[0], strict=True):
        changes[one.method] = tuple(
            ClassChange(
                name=name,
                rows=int(support[code]),
                value=float(value[code]),
                interval=symmetric_interval(float(value[code]), drawn[:, code]),
            )
            for code, name in enumerate(label_names)
            if support[code]
        )
    return changes


def disagreements(
    teacher: Answers, others: Sequence[Answers], rows: LabelledTexts, *, limit: int
) -> dict[str, Disagreements]:
    """Return on which test rows each method chooses another class than the teacher; by method.

    The probabilities are means over seeds. What kept no logits is left out.

    Args:
        teacher: its answers.
        others: those of the methods that are held against it.
        rows: the test rows.
        limit: longest list that is wanted.
    """
    if teacher.logits is None:
        return {}
    reference = mean_probabilities(teacher.logits)
    return {
        one.method: find_disagreements(rows, reference, mean_probabilities(one.logits), limit=limit)
        for one in others
        if one.logits is not None
    }


def label_errors(answers: Answers, rows: LabelledTexts, *, limit: int) -> LabelErrors | None:
    """Return the test rows whose label is likely wrong, by mean probabilities over seeds; nothing without logits.

    Args:
        answers: of one method.
        rows: the test rows.
        limit: longest list that is wanted.
    """
    if answers.logits is None:
        return None
    return find_label_errors(rows, mean_probabilities(answers.logits), limit=limit)


def noise_drops(
    answers: Answers, noise: Mapping[tuple[str, int], NoisyAnswers], *, classes: int
) -> tuple[NoiseDrop, ...]:
    """Return the drop in macro-F1 under each kind of noise; empty unless every seed was asked.

    Args:
        answers: of one method.
        noise: by method and seed, all of the same rows and the same noise.
        classes: how many there are.
    """
    asked = [found for seed in answers.seeds if (found := noise.get((answers.method, seed))) is not None]
    if answers.labels is None or len(asked) < len(answers.seeds):
        return ()
    kinds = [kind for kind in asked[0].noisy if all(kind in one.noisy for one in asked)]
    return robustness(
        answers.labels[asked[0].positions],
        np.stack([one.clean.argmax(axis=1) for one in asked]),
        {kind: np.stack([one.noisy[kind].argmax(axis=1) for one in asked]) for kind in kinds},
        classes=classes,
    )


def same_noise(noise: Mapping[tuple[str, int], NoisyAnswers]) -> dict[tuple[str, int], NoisyAnswers]:
    """Return the largest part of the answers of which all are to the same rows with the same noise."""
    asked: dict[tuple[int, bytes], dict[tuple[str, int], NoisyAnswers]] = {}
    for run, answers in noise.items():
        asked.setdefault((answers.seed, answers.positions.tobytes()), {})[run] = answers
    return max(asked.values(), key=len, default={})
