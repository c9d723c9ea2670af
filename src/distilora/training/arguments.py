"""The settings of ``[training]`` in the words of ``transformers``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import TrainingArguments

from distilora.config import MethodKind, TrainingSettings
from distilora.models.precision import computes_in_bf16
from distilora.training.processes import MAIN, processes

NARROW = 512
"""Hidden width up to which an encoder learns at the first of its two rates."""
LEARNING_RATES: dict[MethodKind, tuple[float, float]] = {
    "teacher": (1e-4, 3e-5),
    "student": (1e-4, 5e-5),
    "lora": (1e-3, 5e-4),
    "joint": (1e-4, 5e-5),
}
"""Of each kind of method that trains: up to that width, and above it; chosen by validation macro-F1."""


def default_learning_rate(kind: MethodKind, *, width: int) -> float:
    """Return the peak learning rate for a method on an encoder of this hidden width.

    Example:
        >>> default_learning_rate("teacher", width=384), default_learning_rate("teacher", width=768)
        (0.0001, 3e-05)
    """
    return LEARNING_RATES[kind][width > NARROW]


def uses_bf16(settings: TrainingSettings) -> bool:
    """Return whether a training with these settings computes in bfloat16 here."""
    return settings.precision == "bf16" or (settings.precision == "auto" and computes_in_bf16())


def training_arguments(
    settings: TrainingSettings, *, folder: Path, seed: int, epochs: int | None = None
) -> TrainingArguments:
    """Return the arguments of ``transformers.Trainer``.

    The batch size is that of all processes together: the batches of :mod:`distilora.data.batches` are shared out. Older
    checkpoints are left to :class:`distilora.training.checkpoints.CheckpointSeal`.

    Args:
        settings: of the method; its learning rate must be given.
        folder: for checkpoints.
        seed: of dropout.
        epochs: fewer epochs than ``settings`` says, for a training that has already stopped early.
    """
    if settings.learning_rate is None:
        raise ValueError("learning_rate is not set: resolve it with default_learning_rate first")
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs or settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,
        lr_scheduler_type="linear",
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=uses_bf16(settings),
        use_cpu=not torch.cuda.is_available(),
        # Terms are also taken of what passes by the wrapper's own outputs, and joint models answer twice a step.
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        seed=_own_seed(seed),
        data_seed=seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # early stopping's patience, and the clock
        metric_for_best_model="macro_f1",
        greater_is_better=True,
        logging_steps=settings.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
    )
    # One process trains on one GPU: over several the trainer would spread the model with nn.DataParallel, whose copies
    # keep what is bound to layers of the first, such as first_token_only's method.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _own_seed(seed: int) -> int:
    """Return the seed of this process: other rows get other dropout, and the main process the same as one alone."""
    rank = processes().rank
    return seed if rank == MAIN else int(np.random.SeedSequence((seed, rank)).generate_state(1)[0])
