"""Where methods differ from the teacher and the data: single rows, classes, and under noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.disagreements import Disagreements, find_disagreements
from distilora.evaluation.intervals import RESAMPLES, resampled_scores
from distilora.evaluation.label_errors import LabelErrors, find_label_errors
from distilora.evaluation.labelled_texts import LabelledTexts, mean_probabilities
from distilora.evaluation.resampling import Classes, Tallies, symmetric_interval
from distilora.evaluation.robustness.answers import NoisyAnswers
from distilora.evaluation.robustness.drops import NoiseDrop, robustness
from distilora.evaluation.sign_flips import sign_flip_p
from distilora.evaluation.significance import holm
from distilora.report.comparing.answers import Answers
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
    present = np.flatnonzero(support).tolist()
    p_values = [[_recall_p(labels == code, predictions[0], said, code) for code in present] for said in predictions[1:]]
    corrected = iter(holm([p for several in p_values for p in several]))
    changes: dict[str, tuple[ClassChange, ...]] = {}
    for one, value, drawn, several in zip(
        kept[1:], values[1:] - values[0], draws[1:] - draws[0], p_values, strict=True
    ):
        changes[one.method] = tuple(
            ClassChange(
                name=label_names[code],
                rows=int(support[code]),
                value=float(value[code]),
                interval=symmetric_interval(float(value[code]), drawn[:, code]),
                p=p,
                p_holm=next(corrected),
            )
            for code, p in zip(present, several, strict=True)
        )
    return changes


def _recall_p(rows: NDArray[np.bool_], teacher: Classes, other: Classes, code: int) -> float:
    """Return p of the difference in recall of one class, seeds averaged.

    Args:
        rows: which rows truly are of the class, shape (rows,).
        teacher: its predictions, shape (seeds, rows).
        other: those of the method beside it, shape (its seeds, rows).
        code: of the class.
    """
    common = math.lcm(len(teacher), len(other))  # so that shares of seeds are whole steps
    found = [(said[:, rows] == code).sum(axis=0) * (common // len(said)) for said in (teacher, other)]
    return sign_flip_p(found[1] - found[0])


def disagreements(
    teacher: Answers, others: Sequence[Answers], rows: LabelledTexts, *, limit: int | None
) -> dict[str, Disagreements]:
    """Return on which test rows each method chooses another class than the teacher; by method.

    The probabilities are means over seeds. What kept no logits is left out.

    Args:
        teacher: its answers.
        others: those of the methods that are held against it.
        rows: the test rows.
        limit: longest list that is wanted; absent: every row.
    """
    if teacher.logits is None:
        return {}
    reference = mean_probabilities(teacher.logits)
    return {
        one.method: find_disagreements(rows, reference, mean_probabilities(one.logits), limit=limit)
        for one in others
        if one.logits is not None
    }


def label_errors(answers: Answers, rows: LabelledTexts, *, limit: int | None) -> LabelErrors | None:
    """Return the test rows whose label is likely wrong, by mean probabilities over seeds; nothing without logits.

    Args:
        answers: of one method.
        rows: the test rows.
        limit: longest list that is wanted; absent: every row.
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
