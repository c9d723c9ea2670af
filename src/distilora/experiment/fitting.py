"""A method's model, trained and judged on validation rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import TrainerCallback

from distilora import guards
from distilora.config import MethodSettings
from distilora.evaluation.metrics import accuracy, evaluate_logits, macro_f1
from distilora.evaluation.records import Evaluation
from distilora.experiment.candidates import Candidate, build_candidate
from distilora.experiment.materials import Materials
from distilora.experiment.methods import first_rows_logits, trainable_hash
from distilora.models.weights import parameter_counts, weights_hash
from distilora.runs import RunRecord
from distilora.training.callbacks import FINITE_LOSS
from distilora.training.detectors import class_shares
from distilora.training.loop import Training, TrainingTask, train_model
from distilora.training.monitor import events_kept
from distilora.training.processes import on_all
from distilora.training.sharing import shared_logits


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model that was trained, its guards passed, and what it says of the validation rows."""

    candidate: Candidate
    model: nn.Module
    """As it is to be saved."""
    training: Training
    parameters: int
    trainable_parameters: int
    guards: tuple[str, ...]
    validation_logits: NDArray[np.float32]
    """Shape (rows, labels)."""
    validation: Evaluation


def fit(  # noqa: PLR0913 - what, on what, from what, and where
    method: MethodSettings,
    materials: Materials,
    *,
    seed: int,
    parents: Mapping[str, RunRecord],
    checkpoints: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> Fitted:
    """Return a method's model, trained and judged on validation rows alone: neither saved nor asked about test rows.

    Args:
        method: its resolved settings.
        materials: of the experiment.
        seed: of all that is drawn at random.
        parents: by name, the complete runs with this seed of the methods that it needs.
        checkpoints: folder that a broken-off training goes on from.
        callbacks: that watch the training, besides the loop's own.

    Raises:
        VoidRunError: a guard refused it; tells what the monitor saw in the training, where there was one.
    """
    candidate = build_candidate(method, materials, seed=seed, parents=parents)
    before = trainable_hash(candidate.model)
    task = TrainingTask(
        settings=method.training,
        objective=candidate.objective,
        train=candidate.train,
        validation=candidate.validation,
        seed=seed,
        folder=checkpoints,
        title=f"{method.name} seed {seed}",
        teacher=candidate.live_teacher,
        adapters=method.lora if method.kind == "lora" else None,
        callbacks=callbacks,
    )
    training = train_model(candidate.model, task, scores=_scores)
    total, trainable = parameter_counts(candidate.model)  # only now: ranks may have grown
    passed = [guards.DISJOINT_PARTS, *candidate.guards, FINITE_LOSS]
    with events_kept(lambda: training.events):
        passed += on_all(lambda: _check_weights(candidate, before))
        model = candidate.model
        if method.kind == "joint":
            model, total = on_all(lambda: _merged(candidate, materials))
            passed.append(guards.MERGED_SAME)
        logits = shared_logits(model, materials.texts["validation"])
        validation = evaluate_logits(logits, materials.labels["validation"], label_names=materials.label_names)
        passed += _check_validation(method, validation, materials)
    return Fitted(candidate, model, training, total, trainable, tuple(passed), logits, validation)


def _check_weights(candidate: Candidate, before: str) -> list[str]:
    guards.require_weights_changed(before, trainable_hash(candidate.model))
    if candidate.teacher is None:
        return [guards.WEIGHTS_CHANGED]
    guards.require_teacher_unchanged(candidate.teacher.sha256, weights_hash(candidate.teacher.model))
    return [guards.WEIGHTS_CHANGED, guards.TEACHER_UNCHANGED]


def _merged(candidate: Candidate, materials: Materials) -> tuple[nn.Module, int]:
    """Return the model with its adapters merged, and how many parameters it has then."""
    before = first_rows_logits(candidate.model, materials)
    model = candidate.finished()
    guards.require_same_when_merged(before, first_rows_logits(model, materials))
    return model, parameter_counts(model)[0]


def _check_validation(method: MethodSettings, validation: Evaluation, materials: Materials) -> list[str]:
    guards.require_varied_predictions(validation)
    if method.kind != "teacher":
        return [guards.VARIED_PREDICTIONS]
    guards.require_trained_teacher(validation, materials.majority)
    return [guards.VARIED_PREDICTIONS, guards.TRAINED_TEACHER]


def _scores(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    return {
        "macro_f1": macro_f1(logits, labels),
        "accuracy": accuracy(logits, labels),
        **class_shares(logits, labels),
    }
