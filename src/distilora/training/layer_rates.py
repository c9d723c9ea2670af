"""Learning rates that fall from layer to layer towards the embeddings, and the level on which each parameter stands."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from distilora.errors import ModelError
from distilora.models.layers import layer_index, layer_stack, layer_stack_name

EMBEDDINGS = 0
"""Level of the embeddings; a layer's level is its number, and what comes after the last layer stands one above it."""
# What feeds the layers from outside the stack: ELECTRA's projection, DeBERTa's relative positions and their norm.
_BELOW = re.compile(r"embeddings|embeddings_project|encoder\.(rel_embeddings|LayerNorm|conv)")
_Group = dict[str, Any]


def parameter_levels(model: nn.Module) -> dict[str, int]:
    """Return for every parameter of a classifier by name how far above the embeddings it stands.

    Level 0 holds the embeddings and what else feeds the first layer, level n layer n with its adapters, and the level
    above the last layer the pooler, the head, the classifier, and anything that wraps the classifier.

    Args:
        model: a classifier, one with LoRA adapters, or any module that holds exactly one classifier.

    Raises:
        ModelError: there is no classifier in it, or several, or one of a family that distilora does not know.
    """
    base = classifier_within(model)
    depth = len(layer_stack(base))
    levels = {id(parameter): _level(name, base, depth=depth) for name, parameter in base.named_parameters()}
    return {name: levels.get(id(parameter), depth + 1) for name, parameter in model.named_parameters()}


def classifier_within(model: nn.Module) -> PreTrainedModel:
    """Return the outermost model of ``transformers`` in a module: the module itself, or what it wraps.

    Raises:
        ModelError: there is none, or several that do not hold one another.
    """
    found = list(_outermost(model))
    if len(found) != 1:
        raise ModelError(f"{type(model).__name__}: {len(found)} classifiers in it, and layers are counted in just one")
    return found[0]


def _outermost(module: nn.Module) -> Iterator[PreTrainedModel]:
    if isinstance(module, PreTrainedModel):
        yield module
    else:
        for child in module.children():
            yield from _outermost(child)


def _level(name: str, base: PreTrainedModel, *, depth: int) -> int:
    stack = f"{layer_stack_name(base)}."
    if name.startswith(stack):
        position = name.removeprefix(stack).partition(".")[0]
        return next(number for number in range(1, depth + 1) if str(layer_index(number)) == position)
    inside = name.removeprefix("" if base.base_model is base else f"{base.base_model_prefix}.")
    return EMBEDDINGS if _BELOW.match(inside) else depth + 1


def level_rates(learning_rate: float, *, decay: float, depth: int) -> tuple[float, ...]:
    """Return the learning rate of each level, from the embeddings to the classifier: ηₖ = η · ξ^(depth + 1 − k).

    Args:
        learning_rate: η, of the classifier and all else above the last layer.
        decay: ξ, what a level has of the rate of the level above it; above 0, at most 1, which gives all the same.
        depth: layers of the model.

    Returns:
        ``depth + 2`` rates: embeddings, layers 1 to ``depth``, classifier.

    Raises:
        ValueError: ``decay`` is not above 0 and at most 1.

    Source:
        Howard & Ruder (2018), ULMFiT, §3.2, https://arxiv.org/abs/1801.06146, for rates that fall from the top by a
        constant factor; Clark et al. (2020), ELECTRA, appendix B, https://arxiv.org/abs/2003.10555, for Adam and
        Transformers, with factors of 0.7 to 0.9.

    Example:
        >>> level_rates(1.0, decay=0.5, depth=2)
        (0.125, 0.25, 0.5, 1.0)
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay is {decay}; allowed is above 0, at most 1")
    return tuple(learning_rate * decay ** (depth + 1 - level) for level in range(depth + 2))


def parameter_groups(
    model: nn.Module, *, learning_rate: float, decay: float, weight_decay: float, decayed: Collection[str]
) -> list[_Group]:
    """Return the optimizer's groups: two a level at most, with and without weight decay, those of the top level first.

    The scheduler and the log of ``transformers.Trainer`` show the rate of the first group, which thus is
    ``learning_rate``. Parameters that are not trainable, and groups without any, are left out; a parameter that becomes
    trainable later must be trainable while the groups are made.

    Args:
        model: a classifier, see :func:`parameter_levels`.
        learning_rate: of the top level.
        decay: what a level has of the rate of the level above it, see :func:`level_rates`.
        weight_decay: of the parameters in ``decayed``; 0 for all others.
        decayed: names of the parameters that shrink: ``Trainer.get_decay_parameter_names``, which leaves out biases and
            norms.

    Returns:
        Mappings with ``params``, ``lr``, ``weight_decay``, and ``level``, for ``torch.optim``.

    Raises:
        ModelError: the levels cannot be told.
        ValueError: ``decay`` is out of range.
    """
    rates = level_rates(learning_rate, decay=decay, depth=len(layer_stack(classifier_within(model))))
    levels, shrinking = parameter_levels(model), frozenset(decayed)
    members: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            members.setdefault((levels[name], name in shrinking), []).append(parameter)
    return [
        {"params": members[key], "lr": rates[key[0]], "weight_decay": weight_decay if key[1] else 0.0, "level": key[0]}
        for key in sorted(members, reverse=True)
    ]
