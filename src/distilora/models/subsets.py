"""Running a classifier with some of its layers alone, without a copy of any weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.data.tokens import EncodedTexts
from distilora.models.first_token import first_token_only
from distilora.models.inference import batches_of_like_length
from distilora.models.layers import checked_numbers, layer_index, layer_stack, layer_stack_name
from distilora.models.states import batch_inputs, evaluating

Numbers = tuple[int, ...]
"""Of layers, from 1, ascending."""


@contextmanager
def only_layers(model: PreTrainedModel, numbers: Sequence[int]) -> Iterator[None]:
    """Let a classifier say meanwhile what an untrained student of these layers would say; then it is as before.

    Its layer stack holds the chosen layers alone, the model's own, so names and numbers of layers are those of the
    shorter stack, and what is put into evaluation or training mode meanwhile leaves the other layers out. The
    configuration stays. Whatever lets the last layer compute less, such as
    :func:`distilora.models.first_token.first_token_only`, is to be entered within.

    Args:
        model: a classifier of a known family, or a bare encoder; no adapters on it.
        numbers: the layers that stay, strictly ascending, from 1.

    Raises:
        ConfigError: the numbers are not layers of the model.
        ModelError: the family is none that distilora knows.
    """
    whole = layer_stack(model)
    chosen = [whole[layer_index(number)] for number in checked_numbers(numbers, len(whole))]
    shorter, name = nn.ModuleList(chosen), layer_stack_name(model)
    shorter.training = whole.training  # not train(), which would reach into the layers
    with _beginning_with(chosen[0], like=whole[0]):
        model.set_submodule(name, shorter)
        try:
            yield
        finally:
            model.set_submodule(name, whole)


@contextmanager
def _beginning_with(first: nn.Module, *, like: nn.Module) -> Iterator[None]:
    """Let a layer lack meanwhile what the model's own first layer lacks: ModernBERT's has no attention norm."""
    lacking = [name for name, part in like.named_children() if isinstance(part, nn.Identity)]
    parts = {name: first.get_submodule(name) for name in lacking}
    try:
        for name in parts:
            first.set_submodule(name, nn.Identity())
        yield
    finally:
        for name, part in parts.items():
            first.set_submodule(name, part)


def logits_of_sets(
    model: PreTrainedModel, texts: EncodedTexts, sets: Sequence[Numbers]
) -> dict[Numbers, NDArray[np.float32]]:
    """Return what a classifier says with each of several sets of its layers alone.

    What sets have in common at their beginning is computed once for each batch.

    Args:
        model: a classifier of a known family, no adapters on it.
        texts: at least one.
        sets: at least one layer each.

    Returns:
        By set, scores before softmax, shape (texts, labels).
    """
    found = {numbers: np.empty((len(texts), int(model.config.num_labels)), dtype=np.float32) for numbers in sets}
    with evaluating(model), torch.inference_mode():
        for rows in batches_of_like_length(texts.lengths):
            inputs, known = batch_inputs(model, texts, rows), dict[Numbers, Any]()
            for numbers in sorted(found):  # so that equal beginnings follow each other
                found[numbers][rows] = _scores(model, numbers, inputs, known).cpu().numpy()
    return found


def _scores(
    model: PreTrainedModel, numbers: Numbers, inputs: Mapping[str, Tensor], known: dict[Numbers, Any]
) -> Tensor:
    """Return the scores of one batch; ``known`` has what came out of the last layer of the sets it has begun with."""
    for beginning in [one for one in known if one != numbers[: len(one)]]:
        del known[beginning]
    with only_layers(model, numbers), _remembering(layer_stack(model), numbers, known), first_token_only(model):
        scores: Tensor = model(**inputs).logits
    return scores.float()


@contextmanager
def _remembering(layers: nn.ModuleList, numbers: Numbers, known: dict[Numbers, Any]) -> Iterator[None]:
    """Let all layers but the last, which may see one token alone, give meanwhile what is known already."""

    def forward(computed: Any, beginning: Numbers, *args: Any, **named: Any) -> Any:
        if beginning not in known:
            known[beginning] = computed(*args, **named)
        return known[beginning]

    remembering = list(layers)[:-1]
    for place, layer in enumerate(remembering, start=1):
        vars(layer)["forward"] = partial(forward, layer.forward, numbers[:place])
    try:
        yield
    finally:
        for layer in remembering:
            del vars(layer)["forward"]
