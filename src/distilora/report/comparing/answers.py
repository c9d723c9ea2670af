"""What the models of one method say of the rows that they were not trained on, gathered once for all that is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.predictions import calibrated
from distilora.errors import RunError
from distilora.evaluation.records import Evaluation
from distilora.evaluation.resampling import Classes
from distilora.runs import Result, RunRecord

Runs = Sequence[RunRecord]
Logits = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Answers:
    """What the models of all valid seeds of one method say; each part is absent where one seed did not keep it."""

    method: str
    runs: tuple[RunRecord, ...]
    """The valid ones, by seed."""
    labels: Classes | None
    """True class of each test row, shape (rows,); absent where ``predictions`` is."""
    predictions: Classes | None
    """Predicted class of each test row, shape (seeds, rows)."""
    logits: Logits | None
    """Of the test rows, shape (seeds, rows, classes); absent where ``predictions`` is."""
    validation_labels: tuple[Classes, ...] | None
    """True class of each validation row, for each seed shape (rows,); absent where ``validation_logits`` is."""
    validation_logits: tuple[Logits, ...] | None
    """For each seed, shape (rows, classes)."""

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of the valid runs."""
        return [run.result.seed for run in self.runs]

    @property
    def tests(self) -> list[Evaluation]:
        """Return the scores of each seed on the test rows."""
        return [run.result.test for run in self.runs if run.result.test is not None]

    @property
    def best_on_validation(self) -> int:
        """Return the place of the seed with the best macro-F1 on validation rows, the first of several such."""
        scores = [run.result.validation.macro_f1 if run.result.validation else -1.0 for run in self.runs]
        return scores.index(max(scores))

    def require_labels(self, other: Answers) -> None:
        """Refuse another method that holds other test labels.

        Raises:
            RunError: it does.
        """
        if not np.array_equal(np.asarray(self.labels), np.asarray(other.labels)):
            raise RunError(f"{self.method} and {other.method} hold different test labels: train one of them again")


def is_valid(result: Result) -> bool:
    """Return whether the scores of a run count."""
    return result.void is None and result.test is not None


def gathered(method: str, runs: Runs) -> Answers:
    """Return what the valid ones of a method's runs say.

    Raises:
        RunError: seeds hold different test labels.
    """
    valid = tuple(run for run in runs if is_valid(run.result))
    labels = [run.test_labels for run in valid if run.test_labels is not None]
    predictions = [run.test_predictions for run in valid if run.test_predictions is not None]
    logits = [run.test_logits for run in valid if run.test_logits is not None]
    known = bool(valid) and len(labels) == len(predictions) == len(valid)
    if known and any(not np.array_equal(truth, labels[0]) for truth in labels):
        raise RunError(f"{method}: its seeds hold different test labels: train the method again")
    validation = [
        (run.validation_labels, run.validation_logits)
        for run in valid
        if run.validation_labels is not None and run.validation_logits is not None and len(run.validation_labels)
    ]
    fitting = bool(valid) and len(validation) == len(valid)
    return Answers(
        method=method,
        runs=valid,
        labels=labels[0] if known else None,
        predictions=np.stack(predictions) if known else None,
        logits=np.stack(logits) if known and len(logits) == len(valid) else None,
        validation_labels=tuple(truth for truth, _ in validation) if fitting else None,
        validation_logits=tuple(scores for _, scores in validation) if fitting else None,
    )


def seed_probabilities(logits: Sequence[Logits] | Logits, temperatures: Sequence[float]) -> NDArray[np.float32]:
    """Return the probabilities of each seed at its temperature, shape (seeds, rows, classes).

    Args:
        logits: of each seed, shape (rows, classes), the rows the same.
        temperatures: one a seed.
    """
    pairs = zip(logits, temperatures, strict=True)
    return np.stack([calibrated(np.asarray(one, dtype=np.float32), temperature=heat) for one, heat in pairs])
