"""Ranks that change while adapters are trained: doubled on a plateau, or taken away by importance (AdaLoRA)."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from distilora.models.allocation import (
    RankAllocation,
    allocate,
    allocator_state,
    keep_ranks,
    restore_allocator,
    set_schedule,
)
from distilora.models.rank import ADAPTER_NAME, grow_optimizer, grow_rank, module_ranks

logger = logging.getLogger(__name__)

ALLOCATION_FILE = "rank_allocation.safetensors"
"""What AdaLoRA's callback adds to a checkpoint."""


class GrowRank(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Doubles the rank of all adapters when an evaluation does not raise the best validation macro-F1 so far.

    The rank grows at the begin of the next epoch, so a checkpoint has the rank that was evaluated, and none grows that
    is trained no more. The new rows depend on seed and rank alone: a resumed training grows at the same places to the
    same bits. For several processes at once this is not made: each would have to exchange its matrices.
    """

    def __init__(self, *, largest: int = 32) -> None:
        """Take the rank that no adapter exceeds."""
        self.history: list[list[int]] = []
        """Of each epoch: its number, from 1, and the rank that was trained in it."""
        self.best: float | None = None
        self.on_plateau = False
        self._largest = largest

    def on_evaluate(
        self,
        args: Any,  # noqa: ARG002
        state: Any,  # noqa: ARG002
        control: Any,  # noqa: ARG002
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Remember whether the score has risen."""
        score = metrics["eval_macro_f1"]
        self.on_plateau = self.best is not None and not score > self.best
        if not self.on_plateau:
            self.best = score

    def on_epoch_begin(self, args: Any, state: Any, control: Any, *, model: Any, optimizer: Any, **_: Any) -> None:  # noqa: ARG002
        """Grow the adapters where the score has not risen."""
        before = _one_rank(model)
        rank = min(2 * before, self._largest)
        if self.on_plateau and rank > before:
            seed = int(np.random.SeedSequence((args.seed, rank)).generate_state(1)[0])
            grow_optimizer(optimizer, grow_rank(model, rank, seed=seed))
            logger.info("after epoch %d: macro-F1 has not risen, rank %d becomes %d", round(state.epoch), before, rank)
        self.on_plateau = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:  # noqa: ARG002
        """Note the epoch's rank."""
        self.history.append([round(state.epoch), _one_rank(model)])

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        attributes = {"history": self.history, "best": self.best, "on_plateau": self.on_plateau}
        return {"args": {"largest": self._largest}, "attributes": attributes}


def _one_rank(model: Any) -> int:
    return next(iter(module_ranks(model).values()))


class AllocateRank(TrainerCallback):  # type: ignore[misc]
    """Lets AdaLoRA weigh its directions after every step; afterwards only those that were kept are saved.

    Until then checkpoints hold all directions, with the importances in a file of their own. It must be written before
    the checkpoint is sealed: give this callback to the trainer before ``CheckpointSeal``.
    """

    def __init__(self, allocation: RankAllocation) -> None:
        """Take when and how far directions are taken away."""
        self.history: list[list[float]] = []
        """Of each epoch: its number, from 1, and the mean rank that the last decision in it left the adapters."""
        self._allocation = allocation
        self._pattern: dict[str, list[bool]] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:  # noqa: ARG002
        """Set the schedule; where the training goes on from a checkpoint, read what it kept."""
        set_schedule(model, self._allocation, steps=state.max_steps)
        if state.global_step:
            with safe_open(_file(args, state), "pt") as kept:
                tensors = {name: kept.get_tensor(name).to(model.device) for name in kept.keys()}  # noqa: SIM118
                self.history = json.loads(kept.metadata()["history"])
            self._pattern = restore_allocator(model, tensors)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:  # noqa: ARG002
        """Weigh the directions, while the step's gradients are there and before the trainer counts the step."""
        self._pattern = allocate(model, state.global_step + 1, self._pattern)

    def on_epoch_end(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:  # noqa: ARG002
        """Note the mean rank."""
        # Between two decisions the optimizer moves what was set to 0, so the weights do not tell.
        kept = [sum(directions) for directions in (self._pattern or {}).values()]
        rank = sum(kept) / len(kept) if kept else model.peft_config[ADAPTER_NAME].init_r
        self.history.append([round(state.epoch), float(rank)])

    def on_save(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:  # noqa: ARG002
        """Add the importances to the checkpoint."""
        if not state.is_world_process_zero:
            return
        save_file(
            {name: tensor.contiguous() for name, tensor in allocator_state(model, self._pattern).items()},
            _file(args, state),
            metadata={"history": json.dumps(self.history)},
        )

    def on_train_end(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:  # noqa: ARG002
        """Settle the ranks; the weights of the best epoch are in the model by now."""
        keep_ranks(model)


def _file(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / ALLOCATION_FILE
