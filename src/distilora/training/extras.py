"""What learns beside the model and is dropped with the end of its training: weights of terms, maps between widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback

EXTRAS_FILE = "extras.safetensors"
"""What a checkpoint keeps of it."""
LOG_VARIANCE_RATE = 1e-2
"""Learning rate of the weights of terms: at that of a model they would hardly leave their start."""


class KeepExtras(TrainerCallback):  # type: ignore[misc]
    """Adds the extras to each checkpoint, and reads them where a training goes on from one.

    The file must be written before the checkpoint is sealed: give this callback to the trainer before
    ``CheckpointSeal``.
    """

    def __init__(self, extras: nn.Module) -> None:
        """Take what is to be kept; its tensors are filled in place."""
        self._extras = extras

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Read what the checkpoint kept, if the training goes on from one."""
        if state.global_step and self._extras.state_dict():
            self._extras.load_state_dict(load_file(_file(args, state)))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Add the extras to the checkpoint of this step."""
        tensors = {name: tensor.contiguous() for name, tensor in self._extras.state_dict().items()}
        if tensors and state.is_world_process_zero:
            save_file(tensors, _file(args, state))


def _file(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / EXTRAS_FILE
