"""How each method comes to its model: fine-tuning, distillation, adapters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from distilora import guards
from distilora.config import MethodSettings
from distilora.experiment.materials import Materials
from distilora.losses.class_weights import class_weights
from distilora.losses.objective import LABELS_ONLY, Objective
from distilora.models.adapters import add_lora, load_adapter, target_pattern
from distilora.models.encoders import load_classifier, load_trained
from distilora.models.inference import compute_logits
from distilora.models.layers import layer_numbers
from distilora.models.loading import read_config
from distilora.models.students import build_student
from distilora.models.weights import weights_hash
from distilora.runs import MODEL_FOLDER, RunRecord, read_logits
from distilora.training.trainer import LiveTeacher

_TRIED_ROWS = 64


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model about to be trained, and how its training is to be judged."""

    model: nn.Module
    objective: Objective
    guards: tuple[str, ...]
    """Names of the guards it has already passed."""
    reload: Callable[[Path], nn.Module]
    """Opens the saved model anew."""
    layers: tuple[int, ...] | None = None
    train_logits: NDArray[np.float32] | None = None
    """The teacher's, shape (training rows, labels)."""
    validation_logits: NDArray[np.float32] | None = None
    """The teacher's, shape (validation rows, labels)."""
    teacher: LiveTeacher | None = None
    teacher_hash: str | None = None
    """Of the teacher's weights before the training."""
    teacher_model: nn.Module | None = None


def build_candidate(method: MethodSettings, materials: Materials, *, seed: int, teacher: RunRecord | None) -> Candidate:
    """Return the model of a method before its training.

    Args:
        method: its settings.
        materials: of the experiment.
        seed: of all that starts at random.
        teacher: the complete run of the teacher with this seed; needed by students.

    Raises:
        VoidRunError: a guard refused the model.
    """
    if method.kind == "student":
        if teacher is None:
            raise ValueError(f"{method.name} is a student and needs its teacher's run")
        return _student(method, materials, teacher)
    return _lora(method, materials, seed) if method.kind == "lora" else _teacher(method, materials, seed)


def check_methods(materials: Materials) -> None:
    """Refuse layers and adapters that the encoder does not have, before anything is trained.

    Raises:
        ConfigError: a method names a layer or a module that the encoder lacks.
    """
    config = read_config(materials.encoder.path, where=f"encoder {materials.encoder.name}")
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    for name in materials.settings.method_names:
        method = materials.settings.method(name)
        if method.kind == "student":
            layer_numbers(method.layers or "", config.num_hidden_layers)
        if method.kind == "lora":
            target_pattern(model, method.lora.targets)


def trainable_hash(model: nn.Module) -> str:
    """Return the SHA-256 of the trainable weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        if weight.requires_grad:
            digest.update(name.encode() + b"\0")
            digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def first_rows_logits(model: nn.Module, materials: Materials) -> NDArray[np.float32]:
    """Return float32 logits of the first validation rows, shape (at most 64, labels)."""
    texts = materials.texts["validation"]
    count = min(_TRIED_ROWS, len(texts))
    first = type(texts)(ids=texts.ids[: texts.starts[count]], starts=texts.starts[: count + 1], pad_id=texts.pad_id)
    return compute_logits(model, first)


def _teacher(method: MethodSettings, materials: Materials, seed: int) -> Candidate:
    settings = materials.settings.encoder
    model, fresh = load_classifier(
        materials.encoder,
        labels=materials.label_names,
        attention=settings.attention,
        dropout=method.training.dropout,
        seed=seed,
    )
    guards.require_trainable_classifier(model, fresh)
    return Candidate(
        model=model,
        objective=_objective(method, materials),
        guards=(guards.TRAINABLE_CLASSIFIER,),
        reload=lambda folder: load_trained(folder, attention=settings.attention),
    )


def _lora(method: MethodSettings, materials: Materials, seed: int) -> Candidate:
    base, fresh = load_classifier(
        materials.encoder,
        labels=materials.label_names,
        attention=materials.settings.encoder.attention,
        dropout=method.training.dropout,
        seed=seed,
    )
    model = add_lora(base, method.lora, fresh=fresh, encoder=materials.encoder, seed=seed)
    guards.require_trainable_classifier(model, fresh)
    return Candidate(
        model=model,
        objective=_objective(method, materials),
        guards=(guards.TRAINABLE_CLASSIFIER,),
        reload=lambda folder: load_adapter(
            folder,
            materials.encoder,
            labels=materials.label_names,
            attention=materials.settings.encoder.attention,
        ),
    )


def _student(method: MethodSettings, materials: Materials, teacher: RunRecord) -> Candidate:
    guards.require_sound_teacher(teacher.result.void)
    attention = materials.settings.encoder.attention
    parent = load_trained(teacher.folder / MODEL_FOLDER, attention=attention)
    numbers = layer_numbers(method.layers or "", parent.config.num_hidden_layers)
    student = build_student(parent, numbers, dropout=method.training.dropout)
    guards.require_own_storage(parent, student)
    guards.require_trainable_classifier(student, _head(student))
    passed = [guards.SOUND_TEACHER, guards.OWN_STORAGE, guards.TRAINABLE_CLASSIFIER]
    if method.distillation.uses_teacher:
        guards.require_student_differs(first_rows_logits(student, materials), first_rows_logits(parent, materials))
        passed.append(guards.STUDENT_DIFFERS)
    logits = read_logits(teacher.folder)
    parent.requires_grad_(requires_grad=False)
    return Candidate(
        model=student,
        objective=_objective(method, materials),
        guards=tuple(passed),
        reload=lambda folder: load_trained(folder, attention=attention),
        layers=tuple(numbers),
        train_logits=logits["train"],
        validation_logits=logits["validation"],
        teacher=LiveTeacher(parent, numbers) if method.distillation.cosine_hidden else None,
        teacher_hash=weights_hash(parent),
        teacher_model=parent,
    )


def _head(model: PreTrainedModel) -> list[str]:
    """Return the modules with weights that stand on top of the encoder."""
    return [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]


def _objective(method: MethodSettings, materials: Materials) -> Objective:
    return Objective(
        weights=method.distillation if method.kind == "student" else LABELS_ONLY,
        label_smoothing=method.training.label_smoothing,
        class_weights=class_weights(
            materials.labels["train"], power=method.training.class_weight_power, classes=len(materials.label_names)
        ),
    )
