"""What makes a run void: each guard rules out one fault that spoilt the numbers of an earlier project.

A guard returns nothing where all is well and raises :class:`VoidRunError` where the run's numbers would mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from distilora.errors import VoidRunError
from distilora.evaluation.records import Evaluation
from distilora.models.weights import shared_storage

TRAINED_TEACHER = "teacher beats the majority class"
VARIED_PREDICTIONS = "predictions vary"
WEIGHTS_CHANGED = "training changed the weights"
TEACHER_UNCHANGED = "teacher's weights unchanged"
OWN_STORAGE = "student shares no storage with its teacher"
STUDENT_DIFFERS = "student differs from its teacher at the first step"
TRAINABLE_CLASSIFIER = "classifier is trainable"
SAME_AFTER_RELOAD = "saved model repeats its logits"
SOUND_TEACHER = "teacher is not void"
SOUND_MEMBERS = "no member is void"
SOUND_START = "what it starts from is not void"
MERGED_SAME = "merged adapters repeat their logits"

DISJOINT_PARTS = "parts are disjoint"
"""Kept by :func:`distilora.data.splits.check_disjoint` before anything is trained."""

_RELOAD_TOLERANCE = 1e-5
_MERGE_TOLERANCE = 1e-4


def require_trained_teacher(validation: Evaluation, majority: Evaluation) -> None:
    """Refuse a teacher that does not beat the majority class on validation, in accuracy and in macro-F1."""
    for name, score, bar in (
        ("accuracy", validation.accuracy, majority.accuracy),
        ("macro-F1", validation.macro_f1, majority.macro_f1),
    ):
        if not score > bar:
            raise VoidRunError(
                TRAINED_TEACHER, f"validation {name} is {score:.4f}, the majority class alone has {bar:.4f}"
            )


def require_sound_teacher(void: str | None) -> None:
    """Refuse to learn from a teacher whose own run is void."""
    if void is not None:
        raise VoidRunError(SOUND_TEACHER, void)


def require_sound_member(method: str, void: str | None) -> None:
    """Refuse to average a model whose own run is void."""
    if void is not None:
        raise VoidRunError(SOUND_MEMBERS, f"member {method} is void: {void}")


def require_sound_start(method: str, void: str | None) -> None:
    """Refuse to go on with a model whose own run is void."""
    if void is not None:
        raise VoidRunError(SOUND_START, f"{method} is void: {void}")


def require_same_when_merged(adapted: NDArray[np.float32], merged: NDArray[np.float32]) -> None:
    """Refuse a model that says something else once its adapters are added into its weights."""
    difference = float(np.abs(adapted - merged).max(initial=0.0))
    if not difference <= _MERGE_TOLERANCE:
        raise VoidRunError(MERGED_SAME, f"logits differ by up to {difference:.2g} once the adapters are merged")


def require_varied_predictions(validation: Evaluation) -> None:
    """Refuse a model that gives every validation row the same class."""
    if validation.constant is not None:
        raise VoidRunError(
            VARIED_PREDICTIONS, f'all {validation.rows} validation rows are predicted "{validation.constant}"'
        )


def require_weights_changed(before: str, after: str) -> None:
    """Refuse a training that left every trainable weight as it was; takes two hashes of those weights."""
    if before == after:
        raise VoidRunError(WEIGHTS_CHANGED, "every trainable weight is the same before and after training")


def require_teacher_unchanged(before: str, after: str) -> None:
    """Refuse a student whose training changed its teacher; takes two hashes of the teacher's weights."""
    if before != after:
        raise VoidRunError(TEACHER_UNCHANGED, "the teacher's weights differ before and after the student's training")


def require_own_storage(teacher: nn.Module, student: nn.Module) -> None:
    """Refuse a student any of whose tensors lies in memory that its teacher uses."""
    shared = shared_storage(teacher, student)
    if shared:
        raise VoidRunError(OWN_STORAGE, f"{len(shared)} tensors are shared, the first is {shared[0]}")


def require_student_differs(student_logits: NDArray[np.float32], teacher_logits: NDArray[np.float32]) -> None:
    """Refuse a student that already says what its teacher says: its distillation terms would all be 0.

    Args:
        student_logits: before the first step, shape (rows, labels).
        teacher_logits: of the same rows, same shape.
    """
    if np.allclose(student_logits, teacher_logits, atol=_RELOAD_TOLERANCE, rtol=0):
        raise VoidRunError(STUDENT_DIFFERS, f"the same logits on all {len(student_logits)} rows that were tried")


def require_trainable_classifier(model: nn.Module, fresh: Sequence[str]) -> None:
    """Refuse a model in which a module that started from random weights is not trained.

    Args:
        model: about to be trained.
        fresh: dotted names of the modules that the encoder's checkpoint lacks, such as ``classifier``.
    """
    # peft keeps the module as it was, frozen and unused, beside the one that it trains.
    used = {f".{name}": weight for name, weight in model.named_parameters() if ".original_module." not in name}
    for module in fresh:
        weights = [weight for name, weight in used.items() if f".{module}." in name]
        if not weights or not all(weight.requires_grad for weight in weights):
            raise VoidRunError(TRAINABLE_CLASSIFIER, f"{module} starts from random weights and is frozen")


def require_same_logits(trained: NDArray[np.float32], reloaded: NDArray[np.float32]) -> None:
    """Refuse a saved model that does not repeat its logits.

    Args:
        trained: of the model as it was trained, shape (rows, labels).
        reloaded: of the model that was opened anew, same shape.
    """
    furthest = float(np.abs(trained - reloaded).max())
    if not furthest <= _RELOAD_TOLERANCE:
        raise VoidRunError(
            SAME_AFTER_RELOAD,
            f"logits differ by {furthest:.2g} after saving and loading, allowed is {_RELOAD_TOLERANCE:g}",
        )
