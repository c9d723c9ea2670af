"""One training run: build, train, guard, save, reload, evaluate, complete."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilora import guards
from distilora.config import MethodSettings
from distilora.errors import VoidRunError
from distilora.evaluation.metrics import accuracy, evaluate_logits, macro_f1
from distilora.evaluation.records import Evaluation
from distilora.experiment.materials import Materials
from distilora.experiment.methods import Candidate, build_candidate, first_rows_logits, trainable_hash
from distilora.experiment.provenance import machine, versions
from distilora.models.encoders import save_trained
from distilora.models.inference import compute_logits
from distilora.models.weights import parameter_counts, weights_hash
from distilora.runs import (
    MODEL_FOLDER,
    HistoryEntry,
    Result,
    RunRecord,
    checkpoints_folder,
    claim_run,
    complete_run,
    partial_folder,
    read_run,
    run_folder,
    run_sha256,
    with_labels,
)
from distilora.training.arguments import default_learning_rate, uses_bf16
from distilora.training.callbacks import FINITE_LOSS
from distilora.training.loop import Training, TrainingTask, train_model
from distilora.training.threads import torch_threads

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Made:
    """What a run leaves beside its model."""

    result: Result
    history: Sequence[HistoryEntry] = ()
    logits: Mapping[str, NDArray[Any]] | None = None


def resolved(method: MethodSettings, materials: Materials) -> MethodSettings:
    """Return the method's settings with the learning rate that holds for the encoder's width."""
    if method.training.learning_rate is not None:
        return method
    rate = default_learning_rate(method.kind, width=materials.encoder.width)
    training = method.training.model_copy(update={"learning_rate": rate})
    return method.model_copy(update={"training": training})


def train_run(
    method: MethodSettings,
    materials: Materials,
    experiment: Path,
    *,
    seed: int,
    teacher: RunRecord | None = None,
) -> RunRecord:
    """Return the run of one method with one seed: read where it is complete, else made or gone on with.

    Args:
        method: its resolved settings.
        materials: of the experiment.
        experiment: the experiment's folder.
        seed: of all that is drawn at random.
        teacher: the complete run of the teacher with this seed; needed by students.

    Raises:
        RunError: the run is there with other settings.
    """
    final = run_folder(experiment, method.name, seed)
    checkpoints = checkpoints_folder(experiment, method.name, seed)
    partial = claim_run(experiment, method.name, seed, _config(method, seed, teacher))
    if partial is None:
        shutil.rmtree(checkpoints, ignore_errors=True)
        return read_run(final)
    with torch_threads(method.training.threads):
        try:
            made = _train(method, materials, experiment, seed=seed, teacher=teacher)
        except VoidRunError as void:
            logger.warning("%s seed %d is void: %s", method.name, seed, void)
            made = _Made(_result(method, materials, seed=seed, void=str(void)))
            # Somebody could take it for a good one.
            shutil.rmtree(partial / MODEL_FOLDER, ignore_errors=True)
    complete_run(partial, final, result=made.result, history=made.history, logits=made.logits)
    shutil.rmtree(checkpoints, ignore_errors=True)  # only now: until then they are what a killed run goes on from
    return read_run(final)


def _train(
    method: MethodSettings,
    materials: Materials,
    experiment: Path,
    *,
    seed: int,
    teacher: RunRecord | None,
) -> _Made:
    partial = partial_folder(experiment, method.name, seed)
    checkpoints = checkpoints_folder(experiment, method.name, seed)
    candidate = build_candidate(method, materials, seed=seed, teacher=teacher)
    total, trainable = parameter_counts(candidate.model)
    before = trainable_hash(candidate.model)
    training = train_model(
        candidate.model, _task(method, materials, candidate, checkpoints=checkpoints, seed=seed), scores=_scores
    )
    passed = [guards.DISJOINT_PARTS, *candidate.guards, FINITE_LOSS, *_check_weights(candidate, before)]
    _save(candidate.model, materials, partial)
    passed.append(_check_reload(candidate, materials, partial))
    logits = {"validation": compute_logits(candidate.model, materials.texts["validation"])}
    validation = evaluate_logits(
        logits["validation"], materials.labels["validation"], label_names=materials.label_names
    )
    passed += _check_validation(method, validation, materials)
    if method.kind == "teacher":
        logits["train"] = compute_logits(candidate.model, materials.texts["train"], bf16=uses_bf16(method.training))
    # The test rows are looked at here and nowhere else, when everything has been chosen.
    logits["test"] = compute_logits(candidate.model, materials.texts["test"])
    test = evaluate_logits(logits["test"], materials.labels["test"], label_names=materials.label_names)
    result = _result(
        method,
        materials,
        seed=seed,
        layers=candidate.layers,
        parameters=total,
        trainable_parameters=trainable,
        size_bytes=_size_bytes(method, materials, partial),
        training_seconds=training.seconds,
        training_memory_mib=training.memory_mib,
        epochs=training.epochs,
        best_epoch=training.best_epoch,
        guards=tuple(passed),
        validation=validation,
        test=test,
    )
    return _Made(result, _history(training), with_labels(logits, materials.labels))


def _task(
    method: MethodSettings, materials: Materials, candidate: Candidate, *, checkpoints: Path, seed: int
) -> TrainingTask:
    return TrainingTask(
        settings=method.training,
        objective=candidate.objective,
        train=materials.rows("train", candidate.train_logits),
        validation=materials.rows("validation", candidate.validation_logits),
        seed=seed,
        folder=checkpoints,
        title=f"{method.name} seed {seed}",
        teacher=candidate.teacher,
    )


def _check_weights(candidate: Candidate, before: str) -> list[str]:
    guards.require_weights_changed(before, trainable_hash(candidate.model))
    if candidate.teacher_model is None or candidate.teacher_hash is None:
        return [guards.WEIGHTS_CHANGED]
    guards.require_teacher_unchanged(candidate.teacher_hash, weights_hash(candidate.teacher_model))
    return [guards.WEIGHTS_CHANGED, guards.TEACHER_UNCHANGED]


def _check_reload(candidate: Candidate, materials: Materials, partial: Path) -> str:
    # On the same device, for another one rounds otherwise.
    reloaded = candidate.reload(partial / MODEL_FOLDER).to(next(candidate.model.parameters()).device)
    guards.require_same_logits(first_rows_logits(candidate.model, materials), first_rows_logits(reloaded, materials))
    return guards.SAME_AFTER_RELOAD


def _check_validation(method: MethodSettings, validation: Evaluation, materials: Materials) -> list[str]:
    guards.require_varied_predictions(validation)
    if method.kind != "teacher":
        return [guards.VARIED_PREDICTIONS]
    guards.require_trained_teacher(validation, materials.majority)
    return [guards.VARIED_PREDICTIONS, guards.TRAINED_TEACHER]


def _save(model: Any, materials: Materials, partial: Path) -> None:
    """Save the model with all that must travel with it: tokenizer, names of the classes, which of them are hateful."""
    shutil.rmtree(partial / MODEL_FOLDER, ignore_errors=True)
    model.config.distilora_positive = list(materials.comments.positive)
    save_trained(model, materials.tokenizer, partial / MODEL_FOLDER)
    model.config.save_pretrained(partial / MODEL_FOLDER)  # peft leaves it out
    (partial / MODEL_FOLDER / "README.md").unlink(missing_ok=True)  # peft's form, with nothing filled in


def _size_bytes(method: MethodSettings, materials: Materials, partial: Path) -> int:
    own = sum(path.stat().st_size for path in (partial / MODEL_FOLDER).glob("*.safetensors"))
    return own + materials.encoder.size_bytes if method.kind == "lora" else own


def _scores(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    return {"macro_f1": macro_f1(logits, labels), "accuracy": accuracy(logits, labels)}


def _history(training: Training) -> list[HistoryEntry]:
    entries: list[HistoryEntry] = []
    for logged in training.log:
        for part, prefix in (("train", ""), ("validation", "eval_")):
            if f"{prefix}loss" not in logged:
                continue
            terms = f"{prefix}loss_"
            losses = {key.removeprefix(terms): value for key, value in logged.items() if key.startswith(terms)}
            entries.append(
                HistoryEntry(
                    part=part,
                    step=logged["step"],
                    epoch=logged["epoch"],
                    losses={**losses, "total": logged[f"{prefix}loss"]},
                    learning_rate=logged.get("learning_rate"),
                    accuracy=logged.get("eval_accuracy"),
                    macro_f1=logged.get("eval_macro_f1"),
                )
            )
    return entries


def _config(method: MethodSettings, seed: int, teacher: RunRecord | None) -> dict[str, Any]:
    """Return what decides this run, as its ``config.toml`` holds it."""
    unused = {"teacher": {"layers", "distillation", "lora"}, "student": {"lora"}, "lora": {"layers", "distillation"}}
    config = {"seed": seed, "method": method.model_dump(exclude=unused[method.kind])}
    if method.kind != "student" or teacher is None:
        return config
    return {**config, "teacher_sha256": run_sha256(teacher.folder)}


def _result(
    method: MethodSettings, materials: Materials, *, seed: int, void: str | None = None, **found: Any
) -> Result:
    return Result.model_validate(
        {
            **found,
            "method": method.name,
            "kind": method.kind,
            "seed": seed,
            "void": void,
            "data": materials.data_identity,
            "encoder": materials.encoder_identity,
            "versions": versions(),
            "machine": machine(method.training),
        }
    )
