"""What watches a training: its clock, its memory, and the end of losses that are no numbers."""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from distilora.errors import VoidRunError
from distilora.machine import forget_peak, peak_resident_mib
from distilora.training.detectors import not_finite

FINITE_LOSS = "finite loss"
"""Name of the guard that :class:`FiniteLoss` keeps."""


class TrainingClock(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Adds up the seconds between the begin and the end of each epoch, over resumed runs too.

    Evaluation and checkpoints fall outside, since both come after an epoch's end.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began: float | None = None

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Add what went by since the epoch's begin."""
        if self._began is not None:
            self.seconds += time.perf_counter() - self._began
            self._began = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        return {"args": {}, "attributes": {"seconds": self.seconds}}


class TrainingMemory(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Keeps the most memory held between the begin and the end of each epoch, over resumed runs too.

    On a GPU what was allocated there; else what the whole process held, whatever for. Evaluation and checkpoints fall
    outside, as they do for :class:`TrainingClock`.
    """

    def __init__(self) -> None:
        self.epoch_peaks: list[float | None] = []
        """In MiB, of each epoch; absent where the system cannot tell one epoch from what was before."""
        self._counts = False

    @property
    def peak_mib(self) -> float | None:
        """Return the most of any epoch in MiB, or nothing where one of them is not known."""
        known = [peak for peak in self.epoch_peaks if peak is not None]
        return max(known) if known and len(known) == len(self.epoch_peaks) else None

    def on_epoch_begin(self, args: Any, *_: Any, **__: Any) -> None:
        """Forget what was held before."""
        self._counts = _forget_peak(args.device)

    def on_epoch_end(self, args: Any, *_: Any, **__: Any) -> None:
        """Keep the most that was held since the epoch's begin."""
        self.epoch_peaks.append(_peak_mib(args.device) if self._counts else None)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        return {"args": {}, "attributes": {"epoch_peaks": list(self.epoch_peaks)}}


def _forget_peak(device: torch.device) -> bool:
    if device.type != "cuda":
        return device.type == "cpu" and forget_peak()
    torch.cuda.reset_peak_memory_stats(device)
    return True


def _peak_mib(device: torch.device) -> float:
    if device.type != "cuda":
        return peak_resident_mib()
    return float(torch.cuda.max_memory_allocated(device)) / 2**20


class FiniteLoss(TrainerCallback):  # type: ignore[misc]
    """Ends a run whose loss is no longer a number, or whose gradients are so long that clipping leaves nothing."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:  # noqa: ARG002
        """Raise ``VoidRunError`` where a logged loss or gradient is infinite or not a number."""
        found = not_finite(logs or {})
        if found is not None:
            raise VoidRunError(FINITE_LOSS, f"{found.message} at step {state.global_step}")


class EpochEndLog(TrainerCallback):  # type: ignore[misc]
    """Asks for an entry of the log at each epoch's end too, so that a resumed training has the same entries."""

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Ask for it."""
        control.should_log = True
