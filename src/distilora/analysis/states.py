"""What leaves each layer of a classifier, and what it says when one layer is left out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora import guards
from distilora.analysis.records import POOLINGS, Pooling
from distilora.data.batches import LengthSortedBatches
from distilora.data.tokens import EncodedTexts
from distilora.errors import ModelError
from distilora.models.first_token import first_token_only
from distilora.models.layers import layer_index, layer_stack, layer_stack_name
from distilora.models.weights import weights_hash

_TOKENS_A_BATCH = 4096
LayerVectors = dict[Pooling, NDArray[np.float32]]
"""By pooling, shape (layers + 1, rows, width): the embeddings come first, so that positions are layer numbers."""
_See = Callable[[int, Tensor], None]


def classifier_pooling(model: PreTrainedModel) -> Pooling:
    """Return how a model's own classifier reads its last layer."""
    return "mean" if getattr(model.config, "classifier_pooling", "cls") == "mean" else "first"


def layer_vectors(model: PreTrainedModel, texts: EncodedTexts) -> LayerVectors:
    """Return what enters the first layer and what leaves each layer, pooled over each text's tokens.

    All layers are seen in one pass, the states of all tokens of one batch at a time. ModernBERT's last norm
    comes after the last layer and is not part of it.

    Args:
        model: a classifier of a known family, no adapters on it; it is not changed.
        texts: at least one.

    Returns:
        Two arrays of 4 · (layers + 1) · rows · width bytes each.

    Raises:
        ModelError: the model's family is none that distilora knows.
    """
    shape = (len(layer_stack(model)) + 1, len(texts), int(model.config.hidden_size))
    found: LayerVectors = {pooling: np.empty(shape, dtype=np.float32) for pooling in POOLINGS}
    with _evaluating(model), torch.inference_mode():
        for rows in _batches(texts):
            inputs = _inputs(model, texts, rows)
            with _watched(model, partial(_keep_pooled, found, rows, inputs["attention_mask"])):
                model.base_model(**inputs)
    return found


def _keep_pooled(found: LayerVectors, rows: list[int], mask: Tensor, number: int, states: Tensor) -> None:
    """Keep the pooled vectors of one layer; ``states`` of shape (batch, tokens, width)."""
    states = states.float()
    tokens = mask.unsqueeze(-1).to(states.dtype)  # (batch, tokens, 1)
    found["first"][number, rows] = states[:, 0].cpu().numpy()
    found["mean"][number, rows] = ((states * tokens).sum(dim=1) / tokens.sum(dim=1)).cpu().numpy()


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
        for rows in _batches(texts):
            for number, scores in _without_each(model, layers, _inputs(model, texts, rows)):
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
    see: _See | None = None,
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
            stack.enter_context(_watched(model, see))
        if start is not None:
            stack.enter_context(_fed(layers[0], start))
        scores: Tensor = model(**inputs).logits
    return scores.float()


@contextmanager
def _watched(model: PreTrainedModel, see: _See) -> Iterator[None]:
    """Show the states of each batch meanwhile: those that enter layer 1 as number 0, then those that leave layers."""
    layers = layer_stack(model)

    def before(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        see(0, args[0] if args else named["hidden_states"])

    def after(number: int, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        see(number, output[0] if isinstance(output, tuple) else output)

    hooks = [layers[0].register_forward_pre_hook(before, with_kwargs=True)]
    hooks += [layer.register_forward_hook(partial(after, number)) for number, layer in enumerate(layers, start=1)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _batches(texts: EncodedTexts) -> LengthSortedBatches:
    """Return batches of like length, none with more than about ``_TOKENS_A_BATCH`` tokens."""
    longest = int(texts.lengths.max())
    return LengthSortedBatches(texts.lengths, batch_size=max(1, _TOKENS_A_BATCH // longest), seed=0)


def _inputs(model: PreTrainedModel, texts: EncodedTexts, rows: list[int]) -> dict[str, Tensor]:
    ids, mask = texts.padded(rows)
    return {
        "input_ids": torch.from_numpy(ids).to(model.device),
        "attention_mask": torch.from_numpy(mask).to(model.device),
    }
