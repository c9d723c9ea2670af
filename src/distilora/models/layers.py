"""Layers have numbers, counted from 1 at the embeddings' side; here they are chosen and found in a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import nn
from transformers import PreTrainedModel

from distilora.errors import ConfigError, ModelError

STACKS: Mapping[str, str] = {
    "bert": "encoder.layer",
    "roberta": "encoder.layer",
    "electra": "encoder.layer",
    "distilbert": "transformer.layer",
    "deberta-v2": "encoder.layer",
    "modernbert": "layers",
}
"""Name of the layer stack inside the bare encoder, for every family that distilora knows."""


def _first_half(depth: int) -> range:
    return range(1, max(1, depth // 2) + 1)


def _last_half(depth: int) -> range:
    return range(depth - max(1, depth // 2) + 1, depth + 1)


def _spread(depth: int) -> list[int]:
    """Return half as many numbers as there are layers, but at least 2; each stands next to its even spacing."""
    if depth < 3:
        return []
    gaps = max(2, depth // 2) - 1
    return [1 + (2 * place * (depth - 1) + gaps) // (2 * gaps) for place in range(gaps + 1)]


_CHOICES: Mapping[str, Callable[[int], Sequence[int]]] = {
    "odd": lambda depth: range(1, depth + 1, 2),
    "even": lambda depth: range(2, depth + 1, 2),
    "first": _first_half,
    "last": _last_half,
    "spread": _spread,
}


def layer_numbers(choice: str, depth: int) -> tuple[int, ...]:
    """Return the layers that ``choice`` takes from a stack, as ascending numbers from 1.

    Half of an odd depth: ``odd`` rounds up (1, 3, 5 of 5), ``even``, ``first`` and ``last`` round down, to 1 at least;
    ``spread`` rounds down too, but takes both ends, so it needs 3 layers and takes 2 at least.

    Args:
        choice: ``odd``, ``even``, ``first``, ``last``, ``spread``, or strictly ascending numbers such as ``1,4,8,12``.
        depth: number of layers in the stack.

    Raises:
        ConfigError: the choice is none of these, or names no layer or an absent one.

    Example:
        >>> layer_numbers("odd", 12), layer_numbers("spread", 12), layer_numbers("2, 5", 6)
        ((1, 3, 5, 7, 9, 11), (1, 3, 5, 8, 10, 12), (2, 5))
    """
    word = choice.strip()
    numbers = tuple(_CHOICES[word](depth)) if word in _CHOICES else _listed(word)
    if not numbers:
        raise ConfigError(f'layers = "{choice}": an encoder of depth {depth} has no such layers; give their numbers')
    return checked_numbers(numbers, depth)


def checked_numbers(numbers: Sequence[int], depth: int) -> tuple[int, ...]:
    """Return ``numbers`` as a tuple once they are proved to be layers of a stack.

    Raises:
        ConfigError: there are none, they do not strictly ascend, or one is outside 1 to ``depth``.
    """
    shown = ",".join(str(number) for number in numbers)
    if not numbers or any(low >= high for low, high in pairwise(numbers)):
        raise ConfigError(f'layers = "{shown}": give at least one number, each larger than the one before')
    if numbers[0] < 1 or numbers[-1] > depth:
        raise ConfigError(f'layers = "{shown}": this encoder has layers 1 to {depth}')
    return tuple(numbers)


def _listed(choice: str) -> tuple[int, ...]:
    parts = [part.strip() for part in choice.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f'layers = "{choice}": use {", ".join(_CHOICES)}, or numbers such as 1,4,8')
    return tuple(int(part) for part in parts)


def layer_index(number: int) -> int:
    """Return the list position, from 0, of the layer with this number, from 1: the only place that subtracts the 1.

    Example:
        >>> layer_index(12)
        11
    """
    return number - 1


def check_family(model_type: str, *, where: str) -> None:
    """Raise a :class:`ModelError` that starts with ``where`` unless distilora knows this family of encoders."""
    if model_type not in STACKS:
        raise ModelError(
            f'{where}: model family "{model_type}" is not one of {", ".join(STACKS)}; take such an encoder'
        )


def layer_stack_name(model: PreTrainedModel) -> str:
    """Return the dotted name of the layer stack inside ``model``, such as ``bert.encoder.layer``.

    Raises:
        ModelError: the model's family is none that distilora knows.
    """
    check_family(model.config.model_type, where=type(model).__name__)
    inside = STACKS[model.config.model_type]
    return inside if model.base_model is model else f"{model.base_model_prefix}.{inside}"


def layer_stack(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of layers of a bare encoder or of a classifier on one; the model's own, not a copy.

    Raises:
        ModelError: the model's family is none that distilora knows.
    """
    stack = model.get_submodule(layer_stack_name(model))
    if not isinstance(stack, nn.ModuleList):
        raise ModelError(f"{type(model).__name__}: {layer_stack_name(model)} is not a list of layers")
    return stack
