"""How each method comes to its model: fine-tuning, distillation, adapters, and both together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from distilora import guards
from distilora.config import ENCODER, SEARCH, TEACHER, MethodSettings
from distilora.data.batches import LabelledRows
from distilora.experiment.materials import Materials
from distilora.experiment.methods import first_rows_logits
from distilora.experiment.opening import adapter_base
from distilora.experiment.teachers import Teacher, open_teacher
from distilora.experiment.training_rows import training_rows
from distilora.losses.class_weights import class_weights
from distilora.losses.objective import LABELS_ONLY, Objective
from distilora.models.adapters import LoraVariant, add_lora, load_adapter_on
from distilora.models.allocation import RankAllocation
from distilora.models.encoders import load_classifier, load_trained
from distilora.models.inference import on_fast_device
from distilora.models.joint import add_joint_adapters, merge_joint_adapters
from distilora.models.layers import layer_numbers, layer_stack
from distilora.models.search_records import LayerSearch
from distilora.models.students import build_student
from distilora.runs import RunRecord
from distilora.training.arguments import uses_bf16
from distilora.training.layer_matching import LiveTeacher
from distilora.training.processes import by_main


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model about to be trained, on what, and how its training is to be judged."""

    model: nn.Module
    objective: Objective
    train: LabelledRows
    validation: LabelledRows
    guards: tuple[str, ...]
    """Names of the guards it has already passed."""
    reload: Callable[[Path], nn.Module]
    """Opens the saved model anew."""
    base_bytes: int = 0
    """Size of what must be stored beside the saved model to run it."""
    layers: tuple[int, ...] | None = None
    teacher: Teacher | None = None
    live_teacher: LiveTeacher | None = None
    search: LayerSearch | None = None
    """How the layers were found, where they were searched."""

    def finished(self) -> nn.Module:
        """Return the trained model as it is saved: adapters that were trained with a whole student are merged."""
        if self.objective.adapted and isinstance(self.model, PreTrainedModel):
            merge_joint_adapters(self.model)
        return self.model


@dataclass(frozen=True, eq=False)
class _Made:
    """A model before its training, and what is known of it."""

    model: nn.Module
    head: tuple[str, ...]
    """Modules on top of the encoder, all of which must be trainable."""
    reload: Callable[[Path], nn.Module]
    layers: tuple[int, ...] | None = None
    search: LayerSearch | None = None
    base_bytes: int = 0


def build_candidate(
    method: MethodSettings, materials: Materials, *, seed: int, parents: Mapping[str, RunRecord]
) -> Candidate:
    """Return the model of a method before its training.

    Args:
        method: its settings; no ensemble.
        materials: of the experiment.
        seed: of all that starts at random.
        parents: by name, the complete runs with this seed of the methods that it needs.

    Raises:
        VoidRunError: a guard refused the model, or what it starts or learns from.
    """
    teacher = open_teacher(parents[TEACHER], materials) if method.learns_from == "teacher" else None
    made = _built(method, materials, seed=seed, parents=parents, teacher=teacher)
    guards.require_trainable_classifier(made.model, made.head)
    passed = [guards.TRAINABLE_CLASSIFIER]
    if teacher is not None:
        passed += _compared(method, made.model, teacher, materials)
    return Candidate(
        model=made.model,
        objective=_objective(method, materials),
        train=training_rows(method, materials, seed=seed, teacher=teacher),
        validation=materials.rows("validation", None if teacher is None else teacher.validation_logits),
        guards=tuple(passed),
        reload=made.reload,
        base_bytes=made.base_bytes,
        layers=made.layers,
        teacher=teacher,
        live_teacher=_live(method, made, teacher, seed=seed),
        search=made.search,
    )


def _built(
    method: MethodSettings,
    materials: Materials,
    *,
    seed: int,
    parents: Mapping[str, RunRecord],
    teacher: Teacher | None,
) -> _Made:
    if method.kind == "teacher":
        return _whole(method, materials, seed=seed)
    if method.kind == "lora":
        start = None if method.start == ENCODER else parents[method.start]
        return _adapted(method, materials, seed=seed, start=start)
    if teacher is None:
        raise ValueError(f"{method.name} is a {method.kind} and needs its teacher's run")
    made = _student(method, materials, teacher)
    if method.kind == "joint" and isinstance(made.model, PreTrainedModel):
        add_joint_adapters(made.model, method.lora, seed=seed)
    return made


def _compared(method: MethodSettings, model: nn.Module, teacher: Teacher, materials: Materials) -> list[str]:
    """Return the guards that a learner has passed beside its teacher."""
    guards.require_own_storage(teacher.model, model)
    passed = [guards.SOUND_TEACHER, guards.OWN_STORAGE]
    if method.distillation.uses_teacher:
        guards.require_student_differs(first_rows_logits(model, materials), first_rows_logits(teacher.model, materials))
        passed.append(guards.STUDENT_DIFFERS)
    return passed


def _whole(method: MethodSettings, materials: Materials, *, seed: int) -> _Made:
    attention = materials.settings.encoder.attention
    model, fresh = load_classifier(
        materials.encoder,
        labels=materials.label_names,
        attention=attention,
        dropout=method.training.dropout,
        seed=seed,
    )
    return _Made(model, fresh, reload=lambda folder: load_trained(folder, attention=attention))


def _student(method: MethodSettings, materials: Materials, teacher: Teacher) -> _Made:
    attention, depth = materials.settings.encoder.attention, len(layer_stack(teacher.model))
    search = _searched(method, materials, teacher) if method.layers == SEARCH else None
    numbers = search.chosen.numbers if search else layer_numbers(method.layers or "", depth)
    student = build_student(teacher.model, numbers, dropout=method.training.dropout)
    return _Made(
        student,
        _head(student),
        reload=lambda folder: load_trained(folder, attention=attention),
        layers=tuple(numbers),
        search=search,
    )


def _searched(method: MethodSettings, materials: Materials, teacher: Teacher) -> LayerSearch:
    """Return which layers of its teacher a student is to have, by the validation rows."""
    # It loads scikit-learn, which other methods need not wait for.
    from distilora.models.layer_search import search_layers

    texts, labels = materials.texts["validation"], materials.labels["validation"]
    with on_fast_device(teacher.model):
        return by_main(lambda: search_layers(teacher.model, texts, labels, bf16=uses_bf16(method.training)))


def _adapted(method: MethodSettings, materials: Materials, *, seed: int, start: RunRecord | None) -> _Made:
    """Return adapters on the encoder, on some of its layers, or on a trained model."""
    encoder, labels = materials.encoder, materials.label_names
    attention, dropout = materials.settings.encoder.attention, method.training.dropout
    if start is None:
        base, fresh = load_classifier(encoder, labels=labels, attention=attention, dropout=dropout, seed=seed)
        numbers = None if method.layers is None else layer_numbers(method.layers, len(layer_stack(base)))
        base = base if numbers is None else build_student(base, numbers, dropout=dropout)
        base_bytes, name = encoder.size_bytes, encoder.name
    else:
        guards.require_sound_start(method.start, start.result.void)
        trained = adapter_base(start, encoder, labels=labels, attention=attention)
        base = build_student(trained, range(1, len(layer_stack(trained)) + 1), dropout=dropout)
        fresh, numbers = _head(base), start.result.layers
        base_bytes, name = start.result.size_bytes or 0, f"{method.start}/{start.folder.name}"
    settings = method.lora
    variant = LoraVariant(settings.dora, settings.rslora, RankAllocation() if settings.adalora else None)
    model = add_lora(base, settings, fresh=fresh, encoder=name, seed=seed, variant=variant)

    def reload(folder: Path) -> nn.Module:
        again = adapter_base(start, encoder, labels=labels, layers=numbers, attention=attention)
        model: nn.Module = load_adapter_on(again, folder, name=name)
        return model

    return _Made(model, fresh, reload=reload, layers=numbers, base_bytes=base_bytes)


def _head(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the modules with weights that stand on top of the encoder."""
    return tuple(
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    )


def _live(method: MethodSettings, made: _Made, teacher: Teacher | None, *, seed: int) -> LiveTeacher | None:
    """Return the teacher with its layers that match the model's, where a term looks inside."""
    if teacher is None or not method.distillation.layer_weight:
        return None
    layers = made.layers or tuple(range(1, len(layer_stack(teacher.model)) + 1))
    distillation = method.distillation
    return LiveTeacher(
        teacher.model, layers, sharpness=distillation.layer_sharpness, projection=distillation.projection, seed=seed
    )


def _objective(method: MethodSettings, materials: Materials) -> Objective:
    training = method.training
    return Objective(
        weights=method.distillation if method.learns_from == "teacher" else LABELS_ONLY,
        label_smoothing=training.label_smoothing,
        class_weights=class_weights(
            materials.labels["train"], power=training.class_weight_power, classes=len(materials.label_names)
        ),
        focal_gamma=training.focal_gamma,
        r_drop=training.r_drop,
        adapted=1.0 if method.kind == "joint" else 0.0,
    )
