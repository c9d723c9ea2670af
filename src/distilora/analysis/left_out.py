"""What a classifier says when one of its layers is left out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora import guards
from distilora.data.tokens import EncodedTexts
from distilora.errors import ModelError
from distilora.models.first_token import first_token_only
from distilora.models.layers import layer_index, layer_stack, layer_stack_name
from distilora.models.states import See, batch_inputs, length_batches, watched_states
from distilora.models.weights import weights_hash


def can_leave_out_layers(model: PreTrainedModel) -> bool:
    """Return whether there are several layers that follow each other directly, as all do but DeBERTa's convolution."""
    return len(layer_stack(model)) > 1 and not getattr(model.config, "conv_kernel_size", 0)


def logits_without_layers(teacher: PreTrainedModel, texts: EncodedTexts) -> dict[int, NDArray[np.float32]]:
    """Return what a classifier says when one layer is left out and the rest is as it was, for each, and as a whole.

    What goes into a layer is computed once: without layer k, the states that enter layer k go on to layer k + 1. That
    takes half the time of running each cut model whole. All is done on a copy.

    Args:
        teacher: a classifier of a known family, no adapters on it; it is not changed, which is proved by hash.
        texts: what to score, at least one.

    Returns:
        By number of the layer that is left out, from 1, and as 0 with none left out: scores before softmax, shape
        (texts, labels).

    Raises:
        ModelError: the family is none that distilora knows, something else stands between its layers, or there is
            only one.
        VoidRunError: the teacher changed meanwhile.
    """
    if not can_leave_out_layers(teacher):
        raise ModelError(f"{type(teacher).__name__}: has one layer, or a convolution between two; none can be left out")
    before = weights_hash(teacher)
    model = copy.deepcopy(teacher).eval()
    guards.require_own_storage(teacher, model)
    layers = list(layer_stack(model))
    shape = (len(texts), int(model.config.num_labels))
    logits = {number: np.empty(shape, dtype=np.float32) for number in range(len(layers) + 1)}
    with torch.inference_mode():
        for rows in length_batches(texts):
            for number, scores in _without_each(model, layers, batch_inputs(model, texts, rows)):
                logits[number][rows] = scores.cpu().numpy()
    guards.require_teacher_unchanged(before, weights_hash(teacher))
    return logits


def _without_each(
    model: PreTrainedModel, layers: Sequence[nn.Module], inputs: dict[str, Tensor]
) -> Iterator[tuple[int, Tensor]]:
    """Yield the number of each layer with the scores without it, the last first, then 0 with those of the whole."""
    entering: list[Tensor] = []  # the states that go into each layer
    yield len(layers), _scores(model, layers[:-1], inputs, see=lambda _, states: entering.append(states))
    # What left the last but one was the first token alone, so the whole starts from what went into it.
    yield 0, _scores(model, layers[-2:], inputs, start=entering[-2])
    for number in range(1, len(layers)):
        yield number, _scores(model, layers[number:], inputs, start=entering[layer_index(number)])


def _scores(
    model: PreTrainedModel,
    layers: Sequence[nn.Module],
    inputs: dict[str, Tensor],
    *,
    see: See | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """Return the scores of the model with these layers alone, shape (batch, labels).

    Args:
        model: whose layers are exchanged.
        layers: its new stack.
        inputs: of one batch.
        see: is given the states that leave each layer.
        start: the states that go into the first of ``layers``; absent: the embeddings.
    """
    model.set_submodule(layer_stack_name(model), nn.ModuleList(layers))
    with ExitStack() as stack, first_token_only(model):
        if see is not None:
            stack.enter_context(watched_states(model, see))
        if start is not None:
            stack.enter_context(_fed(layers[0], start))
        scores: Tensor = model(**inputs).logits
    return scores.float()


@contextmanager
def _fed(layer: nn.Module, states: Tensor) -> Iterator[None]:
    """Let a layer start from other states than it is given meanwhile."""

    def exchange(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return ((states, *args[1:]), named) if args else (args, {**named, "hidden_states": states})

    hook = layer.register_forward_pre_hook(exchange, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
