"""Gradual unfreezing: training begins at the top, and at each epoch's begin the next lower layers join in."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from distilora.models.layers import layer_stack
from distilora.training.layer_rates import EMBEDDINGS, classifier_within, parameter_levels


def trainable_levels(epoch: int, depth: int, *, first: int = 1, layers_an_epoch: int = 1) -> tuple[int, ...]:
    """Return which layers train in an epoch, by number, with 0 for the embeddings; the classifier always does.

    Args:
        epoch: from 0.
        depth: layers of the model.
        first: layers that train from the start, counted from the top; 0: the classifier alone.
        layers_an_epoch: how many more join in at each epoch's begin; the embeddings count as one.

    Returns:
        Ascending numbers from the lowest that trains to ``depth``.

    Raises:
        ValueError: ``epoch`` or ``first`` is below 0, or ``layers_an_epoch`` below 1.

    Source:
        Howard & Ruder (2018), ULMFiT, §3.3, https://arxiv.org/abs/1801.06146.

    Example:
        >>> [trainable_levels(epoch, 3) for epoch in range(5)]
        [(3,), (2, 3), (1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3)]
    """
    if epoch < 0 or first < 0 or layers_an_epoch < 1:
        raise ValueError(f"epoch {epoch}, first {first}, {layers_an_epoch} layers an epoch: allowed is from 0, 0 and 1")
    trained = first + layers_an_epoch * epoch
    return tuple(range(max(EMBEDDINGS, depth + 1 - trained), depth + 1))


class GradualUnfreezing(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Makes :func:`trainable_levels` of each epoch the layers that train, and keeps which parameters those were.

    Only what was trainable when training began is ever touched, so that what is frozen on purpose, as below LoRA
    adapters, stays so; all of that is trainable again once training ends. The optimizer must be made while all of it
    is trainable, as ``transformers.Trainer`` does, which makes it before training begins. With several processes,
    ``ddp_find_unused_parameters`` must be set.

    Args:
        first: layers that train from the start, counted from the top.
        layers_an_epoch: how many more join in at each epoch's begin.
    """

    def __init__(self, *, first: int = 1, layers_an_epoch: int = 1) -> None:
        trainable_levels(0, 1, first=first, layers_an_epoch=layers_an_epoch)
        self._first = first
        self._layers_an_epoch = layers_an_epoch
        self._able: dict[str, nn.Parameter] = {}
        self.kept: list[list[str]] = []

    @property
    def trained(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of the parameters that were trainable in each epoch so far, over resumed stretches too."""
        return tuple(tuple(names) for names in self.kept)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:  # noqa: ARG002
        """Remember what may be trained at all."""
        self._able = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:  # noqa: ARG002
        """Let this epoch's layers train, and no others."""
        epoch, depth = round(state.epoch or 0), len(layer_stack(classifier_within(model)))
        chosen = trainable_levels(epoch, depth, first=self._first, layers_an_epoch=self._layers_an_epoch)
        levels = parameter_levels(model)
        for name, parameter in self._able.items():
            parameter.requires_grad_(levels[name] in chosen or levels[name] > depth)
        names = [name for name, parameter in self._able.items() if parameter.requires_grad]
        self.kept = [*self.kept[:epoch], names]

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Make trainable again what was so when training began."""
        for parameter in self._able.values():
            parameter.requires_grad_(True)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        return {
            "args": {"first": self._first, "layers_an_epoch": self._layers_an_epoch},
            "attributes": {"kept": self.kept},
        }
