"""One training from begin to end, going on where it was broken off."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, PreTrainedModel, PrinterCallback, TrainerCallback

from distilora.config import LoraSettings, TrainingSettings
from distilora.data.batches import LabelledRows
from distilora.losses.objective import Objective
from distilora.models.allocation import RankAllocation, orthogonality_penalty
from distilora.models.embeddings import keep_seen_rows, restore_all_rows
from distilora.models.first_token import first_token_only
from distilora.models.loading import quietly
from distilora.training.adaptive_rank import AllocateRank, GrowRank
from distilora.training.arguments import training_arguments
from distilora.training.callbacks import FiniteLoss, TrainingClock, TrainingMemory
from distilora.training.checkpoints import CheckpointSeal, last_checkpoint, private_folder, read_state
from distilora.training.layer_matching import LiveTeacher
from distilora.training.monitor import TrainingMonitor, events_kept, stopped_by_monitor
from distilora.training.processes import by_main
from distilora.training.progress import TrainingProgress
from distilora.training.records import Event
from distilora.training.trainer import DistillationTrainer, Scores
from distilora.training.unfreezing import GradualUnfreezing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingTask:
    """Everything a training needs beside the model."""

    settings: TrainingSettings
    objective: Objective
    train: LabelledRows
    validation: LabelledRows
    seed: int
    folder: Path
    """Where checkpoints are kept until the training is complete."""
    title: str
    """What it is called where its progress is shown."""
    teacher: LiveTeacher | None = None
    adapters: LoraSettings | None = None
    """Of a model with adapters that peft holds: whether and how their ranks adapt."""
    callbacks: Sequence[TrainerCallback] = ()
    """Further ones."""


@dataclass(frozen=True)
class Training:
    """What is known of a training once it is done."""

    seconds: float
    """The loop alone: evaluations and checkpoints left out, resumed stretches added."""
    memory_mib: float | None
    """The most held during that time, by the whole process or on its GPU; absent where the system does not tell."""
    epochs: int
    best_epoch: int
    log: tuple[dict[str, Any], ...]
    """What ``transformers.Trainer`` logged, in order."""
    events: tuple[Event, ...] = ()
    """What the monitor saw, in order."""
    ranks: tuple[float, ...] = ()
    """Of adapters whose rank adapts: the rank trained in each epoch, on average over the adapters."""


def train_model(model: nn.Module, task: TrainingTask, *, scores: Scores) -> Training:
    """Train ``model`` in place and leave the weights of its best epoch in it.

    Checkpoints are written at the end of each epoch. A training that was broken off, even by kill -9, goes on from
    the last of them that is whole and, with the same number of threads and of processes, ends in the same bits.

    Args:
        model: a classifier; what is to be trained requires gradients.
        task: data, objective and settings.
        scores: from logits and labels to scores by name; ``macro_f1`` decides which epoch is best.

    Raises:
        VoidRunError: the loss is not finite; tells what the monitor saw.
    """
    checkpoint = by_main(lambda: last_checkpoint(private_folder(task.folder)))
    full_table = _train_seen_rows_only(model, task.train)
    progress = TrainingProgress(task.title, task.folder)
    trainer = _trainer(model, task, progress, scores=scores, epochs=_epochs_when_stopped(checkpoint))
    if checkpoint:
        logger.info("%s: going on from %s", task.title, checkpoint.name)
    try:
        seen = events_kept(lambda: _callbacks_of(trainer)[TrainingMonitor].events)
        with seen, quietly(), first_token_only(model), warnings.catch_warnings():
            # accelerate still passes broadcast_buffers on, which torch is about to give another name.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        progress.close()
        # The trainer has wrapped the model to compute in bfloat16; from here on it is float32 again.
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        if full_table:
            restore_all_rows(model)
    return _training(trainer)


def _train_seen_rows_only(model: nn.Module, rows: LabelledRows) -> bool:
    """Train only those rows of a trainable word-embedding table that occur; return whether there is such a table."""
    if not isinstance(model, PreTrainedModel) or not model.get_input_embeddings().weight.requires_grad:
        return False
    keep_seen_rows(model, np.unique(rows.texts.ids))
    return True


def _trainer(
    model: nn.Module, task: TrainingTask, progress: TrainingProgress, *, scores: Scores, epochs: int | None
) -> DistillationTrainer:
    trainer = DistillationTrainer(
        model,
        args=training_arguments(task.settings, folder=task.folder, seed=task.seed, epochs=epochs),
        objective=task.objective,
        train=task.train,
        validation=task.validation,
        scores=scores,
        teacher=task.teacher,
        balanced_sampling=task.settings.balanced_sampling,
        layer_decay=task.settings.layer_decay,
        penalty=_penalty(model, task),
        callbacks=[*_callbacks(task), CheckpointSeal(), progress],
    )
    trainer.remove_callback(PrinterCallback)  # it prints every entry of the log
    return trainer


def _callbacks(task: TrainingTask) -> list[TrainerCallback]:
    """Return what watches and steers a training; all of them write to a checkpoint before it is sealed."""
    settings, adapters = task.settings, task.adapters
    # Where weights adapt, the total stays near its start whatever the terms do.
    watched = "loss" if task.objective.weights.balance == "fixed" else f"loss_{next(iter(task.objective.fixed))}"
    callbacks = [TrainingClock(), TrainingMemory(), TrainingMonitor(settings.monitor, loss=watched), FiniteLoss()]
    if settings.unfreeze:
        callbacks.append(GradualUnfreezing())
    if adapters is not None and adapters.rank == "grow":
        callbacks.append(GrowRank(largest=adapters.largest_rank))
    if adapters is not None and adapters.adalora:
        callbacks.append(AllocateRank(RankAllocation()))
    if settings.patience:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=settings.patience))
    return [*callbacks, *task.callbacks]


def _penalty(model: nn.Module, task: TrainingTask) -> Callable[[], Tensor] | None:
    """Return what is added to every step's loss: of AdaLoRA, how far its directions are from orthonormal ones."""
    if task.adapters is None or not task.adapters.adalora:
        return None
    return lambda: RankAllocation().orthogonality * orthogonality_penalty(model)


def _epochs_when_stopped(checkpoint: Path | None) -> int | None:
    """Return how many epochs a training took that had already stopped early, or nothing where it had not."""
    state = read_state(checkpoint) if checkpoint else None
    if state and stopped_by_monitor(state):
        return round(float(state["epoch"]))
    stopping = (state or {}).get("stateful_callbacks", {}).get("EarlyStoppingCallback")
    if not state or not stopping:
        return None
    waited = stopping["attributes"]["early_stopping_patience_counter"]
    return round(state["epoch"]) if waited >= stopping["args"]["early_stopping_patience"] else None


def _callbacks_of(trainer: DistillationTrainer) -> dict[type[Any], Any]:
    """Return a trainer's callbacks by type; one that was resumed has put new ones in the place of ours."""
    return {type(callback): callback for callback in trainer.callback_handler.callbacks}


def _training(trainer: DistillationTrainer) -> Training:
    found = _callbacks_of(trainer)
    evaluations: Sequence[dict[str, Any]] = [entry for entry in trainer.state.log_history if "eval_macro_f1" in entry]
    best = max(evaluations, key=lambda entry: entry["eval_macro_f1"])  # the first of equals, as the trainer keeps it
    ranks = found.get(GrowRank) or found.get(AllocateRank)
    return Training(
        seconds=found[TrainingClock].seconds,
        memory_mib=found[TrainingMemory].peak_mib,
        epochs=round(evaluations[-1]["epoch"]),
        best_epoch=round(best["epoch"]),
        log=tuple(trainer.state.log_history),
        events=found[TrainingMonitor].events,
        ranks=tuple(float(rank) for _, rank in ranks.history) if ranks else (),
    )
