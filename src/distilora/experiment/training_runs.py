"""One training run: build, train, guard, save, reload, evaluate, complete."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from distilora import guards
from distilora.config import ENCODER, TEACHER, MethodSettings
from distilora.errors import VoidRunError
from distilora.evaluation.layer_searches import write_layer_search
from distilora.evaluation.metrics import evaluate_logits
from distilora.experiment.fitting import Fitted, fit
from distilora.experiment.histories import history_of
from distilora.experiment.materials import Materials
from distilora.experiment.methods import first_rows_logits
from distilora.experiment.provenance import machine, versions
from distilora.experiment.training_rows import uses_unlabelled
from distilora.models.encoders import save_trained
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
from distilora.training.monitor import events_kept
from distilora.training.processes import by_main
from distilora.training.sharing import shared_logits
from distilora.training.threads import torch_threads

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Made:
    """What a run leaves beside its model."""

    result: Result
    history: Sequence[HistoryEntry] = ()
    logits: Mapping[str, NDArray[Any]] | None = None


def resolved(method: MethodSettings, materials: Materials) -> MethodSettings:
    """Return the method's settings with the learning rate that holds for the encoder's width, if it trains at all."""
    if method.training.learning_rate is not None or method.kind == "ensemble":
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
    parents: Mapping[str, RunRecord],
) -> RunRecord:
    """Return the run of one method with one seed: read where it is complete, else made or gone on with.

    Args:
        method: its resolved settings.
        materials: of the experiment.
        experiment: the experiment's folder.
        seed: of all that is drawn at random.
        parents: by name, the complete runs with this seed of the methods that it needs.

    Raises:
        RunError: the run is there with other settings.
    """
    final = run_folder(experiment, method.name, seed)
    checkpoints = checkpoints_folder(experiment, method.name, seed)
    config = _config(method, materials, seed=seed, parents=parents)
    partial = by_main(lambda: claim_run(experiment, method.name, seed, config))
    if partial is None:
        by_main(lambda: shutil.rmtree(checkpoints, ignore_errors=True))
        return read_run(final)
    with torch_threads(method.training.threads):
        try:
            made = _train(method, materials, experiment, seed=seed, parents=parents)
        except VoidRunError as void:
            logger.warning("%s seed %d is void: %s", method.name, seed, void)
            result = _result(
                method, materials, seed=seed, void=str(void), events=void.events, **_started(method, parents)
            )
            made = _Made(result)
    by_main(lambda: _complete(partial, final, made))
    by_main(lambda: shutil.rmtree(checkpoints, ignore_errors=True))  # only now: a killed run goes on from them
    return read_run(final)


def _complete(partial: Path, final: Path, made: _Made) -> None:
    if made.result.void is not None:  # somebody could take its model for a good one
        shutil.rmtree(partial / MODEL_FOLDER, ignore_errors=True)
    complete_run(partial, final, result=made.result, history=made.history, logits=made.logits)


def _train(
    method: MethodSettings,
    materials: Materials,
    experiment: Path,
    *,
    seed: int,
    parents: Mapping[str, RunRecord],
) -> _Made:
    partial = partial_folder(experiment, method.name, seed)
    checkpoints = checkpoints_folder(experiment, method.name, seed)
    fitted = fit(method, materials, seed=seed, parents=parents, checkpoints=checkpoints)
    training = fitted.training
    with events_kept(lambda: training.events):
        # The others never look into the folder: the main process puts it in its place while they are still at work.
        guard, saved_bytes = by_main(lambda: _saved(fitted, materials, partial))
    logits = {"validation": fitted.validation_logits}
    if method.kind == "teacher":
        logits["train"] = shared_logits(fitted.model, materials.texts["train"], bf16=uses_bf16(method.training))
    # The test rows are looked at here and nowhere else, when everything has been chosen.
    logits["test"] = shared_logits(fitted.model, materials.texts["test"])
    result = _result(
        method,
        materials,
        seed=seed,
        **_started(method, parents),
        layers=fitted.candidate.layers,
        parameters=fitted.parameters,
        trainable_parameters=fitted.trainable_parameters,
        size_bytes=saved_bytes + fitted.candidate.base_bytes,
        training_seconds=training.seconds,
        training_memory_mib=training.memory_mib,
        epochs=training.epochs,
        best_epoch=training.best_epoch,
        guards=(*fitted.guards, guard),
        events=training.events,
        validation=fitted.validation,
        test=evaluate_logits(logits["test"], materials.labels["test"], label_names=materials.label_names),
    )
    return _Made(result, history_of(training), with_labels(logits, materials.labels))


def _saved(fitted: Fitted, materials: Materials, partial: Path) -> tuple[str, int]:
    """Save the model; return the guard that its files have passed, and how many bytes its weights have."""
    _save(fitted.model, materials, partial)
    if fitted.candidate.search is not None:
        write_layer_search(partial, fitted.candidate.search)
    return _check_reload(fitted, materials, partial), _size_bytes(partial)


def _check_reload(fitted: Fitted, materials: Materials, partial: Path) -> str:
    # On the same device, for another one rounds otherwise.
    reloaded = fitted.candidate.reload(partial / MODEL_FOLDER).to(next(fitted.model.parameters()).device)
    guards.require_same_logits(first_rows_logits(fitted.model, materials), first_rows_logits(reloaded, materials))
    return guards.SAME_AFTER_RELOAD


def _save(model: Any, materials: Materials, partial: Path) -> None:
    """Save the model with all that must travel with it: tokenizer, names of the classes, which of them are hateful."""
    shutil.rmtree(partial / MODEL_FOLDER, ignore_errors=True)
    model.config.distilora_positive = list(materials.comments.positive)
    save_trained(model, materials.tokenizer, partial / MODEL_FOLDER)
    model.config.save_pretrained(partial / MODEL_FOLDER)  # peft leaves it out
    (partial / MODEL_FOLDER / "README.md").unlink(missing_ok=True)  # peft's form, with nothing filled in


def _size_bytes(partial: Path) -> int:
    return sum(path.stat().st_size for path in (partial / MODEL_FOLDER).glob("*.safetensors"))


_UNUSED: Mapping[str, frozenset[str]] = {
    "teacher": frozenset({"layers", "lora"}),
    "student": frozenset({"lora"}),
    "lora": frozenset(),
    "joint": frozenset(),
}
"""Tables of a method that say nothing of its kind."""


def _config(
    method: MethodSettings, materials: Materials, *, seed: int, parents: Mapping[str, RunRecord]
) -> dict[str, Any]:
    """Return what decides this run, as its ``config.toml`` holds it."""
    unused = {"members", *_UNUSED[method.kind], *(["distillation"] if method.learns_from == "labels" else [])}
    config: dict[str, Any] = {"seed": seed, "method": method.model_dump(exclude=unused)}
    if method.learns_from == "teacher":
        config["teacher_sha256"] = run_sha256(parents[TEACHER].folder)
    if method.start not in (ENCODER, TEACHER):
        config["start_sha256"] = run_sha256(parents[method.start].folder)
    elif method.start == TEACHER and "teacher_sha256" not in config:
        config["start_sha256"] = run_sha256(parents[TEACHER].folder)
    if uses_unlabelled(method, materials) and materials.unlabelled is not None:
        config["unlabelled_sha256"] = materials.unlabelled.sha256
    return config


def _started(method: MethodSettings, parents: Mapping[str, RunRecord]) -> dict[str, Any]:
    """Return what a result tells of the run that its adapters stand on."""
    if method.kind != "lora" or method.start == ENCODER:
        return {}
    return {"start": method.start, "start_sha256": run_sha256(parents[method.start].folder)}


def _result(
    method: MethodSettings, materials: Materials, *, seed: int, void: str | None = None, **found: Any
) -> Result:
    return Result.model_validate(
        {
            **found,
            "method": method.name,
            "kind": "student" if method.kind == "joint" else method.kind,
            "seed": seed,
            "void": void,
            "data": materials.data_identity,
            "encoder": materials.encoder_identity,
            "versions": versions(),
            "machine": machine(method.training),
        }
    )
