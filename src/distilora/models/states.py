"""What leaves each layer of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.data.batches import LengthSortedBatches
from distilora.data.tokens import EncodedTexts
from distilora.models.layers import layer_stack
from distilora.models.similarity import POOLINGS, Pooling

_TOKENS_A_BATCH = 4096
LayerVectors = dict[Pooling, NDArray[np.float32]]
"""By pooling, shape (layers + 1, rows, width): the embeddings come first, so that positions are layer numbers."""
See = Callable[[int, Tensor], None]
"""Takes the number of a layer and the states that leave it, shape (batch, tokens, width)."""


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
    with evaluating(model), torch.inference_mode():
        for rows in length_batches(texts):
            inputs = batch_inputs(model, texts, rows)
            with watched_states(model, partial(_keep_pooled, found, rows, inputs["attention_mask"])):
                model.base_model(**inputs)
    return found


def _keep_pooled(found: LayerVectors, rows: list[int], mask: Tensor, number: int, states: Tensor) -> None:
    """Keep the pooled vectors of one layer; ``states`` of shape (batch, tokens, width)."""
    states = states.float()
    tokens = mask.unsqueeze(-1).to(states.dtype)  # (batch, tokens, 1)
    found["first"][number, rows] = states[:, 0].cpu().numpy()
    found["mean"][number, rows] = ((states * tokens).sum(dim=1) / tokens.sum(dim=1)).cpu().numpy()


@contextmanager
def watched_states(model: PreTrainedModel, see: See) -> Iterator[None]:
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
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode meanwhile."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def length_batches(texts: EncodedTexts) -> LengthSortedBatches:
    """Return batches of like length, none with more than about 4,096 tokens."""
    longest = int(texts.lengths.max())
    return LengthSortedBatches(texts.lengths, batch_size=max(1, _TOKENS_A_BATCH // longest), seed=0)


def batch_inputs(model: PreTrainedModel, texts: EncodedTexts, rows: list[int]) -> dict[str, Tensor]:
    """Return ids and attention mask of some texts on the model's device, each of shape (rows, tokens)."""
    ids, mask = texts.padded(rows)
    return {
        "input_ids": torch.from_numpy(ids).to(model.device),
        "attention_mask": torch.from_numpy(mask).to(model.device),
    }
