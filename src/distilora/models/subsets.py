"""Running a classifier with some of its layers alone, without a copy of any weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel

from distilora.models.layers import checked_numbers, layer_index, layer_stack, layer_stack_name


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
