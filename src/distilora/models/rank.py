"""The rank of adapters: read, grown in the middle of a training, and fitted to a checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.tuners.adalora import AdaLoraModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from distilora.errors import ModelError
from distilora.models.loading import seeded

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_NAME = "default"
"""What peft calls the one adapter of a model."""


class Growth(NamedTuple):
    """A matrix of an adapter, and the larger one that took its place and begins with it."""

    old: nn.Parameter
    new: nn.Parameter


def module_ranks(model: PeftModel) -> dict[str, int]:
    """Return the rank of each adapter by the dotted name of its module in the plain model.

    Of AdaLoRA those directions count whose singular value is not exactly 0: all are 0 before the first step.
    """
    return {name.removeprefix("base_model.model."): _rank(layer) for name, layer in _adapters(model)}


def _rank(layer: Any) -> int:
    singular = getattr(layer, "lora_E", None)
    return int(layer.r[ADAPTER_NAME] if singular is None else singular[ADAPTER_NAME].count_nonzero())


def _adapters(model: PeftModel) -> Iterator[tuple[str, Any]]:
    """Yield the modules that hold an adapter, by name."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def grow_rank(model: PeftModel, rank: int, *, seed: int) -> list[Growth]:
    """Give every adapter more directions; the model computes what it computed before.

    An adapter adds s·B·A to its matrix. A gets new random rows and B new columns of zeros, so that the sum is the same
    and the new directions learn from the first step on. The scale s stays what it was: alpha grows with the rank (with
    its root where s is alpha / √rank), or old directions would fade. What is saved from now on has the new rank and
    the new alpha, and plain peft opens it.

    Args:
        model: a LoRA model, with DoRA and rsLoRA or without; its matrices are exchanged, so an optimizer must hear of
            it through :func:`grow_optimizer`.
        rank: the new rank of every adapter, not below the present one.
        seed: seed of the new rows; other random numbers are not touched.

    Returns:
        The exchanged matrices, two of each adapter; none where the rank is the present one.

    Raises:
        ValueError: the rank would shrink, or the model has no plain adapters of one rank.

    Source:
        The initial rows are those of Hu et al. (2021), §4.1, https://arxiv.org/abs/2106.09685, as peft draws them.

    Example:
        >>> from peft import LoraConfig, get_peft_model
        >>> model = get_peft_model(nn.Sequential(nn.Linear(4, 3)), LoraConfig(r=2, target_modules=["0"]))
        >>> [tuple(growth.new.shape) for growth in grow_rank(model, 4, seed=0)]
        [(4, 4), (3, 4)]
    """
    before = _common_rank(model)
    if rank < before:
        raise ValueError(f"adapters of rank {before} cannot grow to rank {rank}")
    if rank == before:
        return []
    config = model.peft_config[ADAPTER_NAME]
    ratio = rank / before
    config.lora_alpha *= math.sqrt(ratio) if config.use_rslora else ratio
    config.r = rank
    with seeded(seed), torch.no_grad():
        return [growth for _, layer in _adapters(model) for growth in _grow(layer, config)]


def _common_rank(model: PeftModel) -> int:
    ranks = {layer.r[ADAPTER_NAME] for _, layer in _adapters(model)}
    if len(ranks) != 1 or isinstance(model.base_model, AdaLoraModel):
        raise ValueError("only a model whose plain LoRA adapters all have the same rank can grow")
    return int(ranks.pop())


def _grow(layer: Any, config: Any) -> list[Growth]:
    down, up = layer.lora_A[ADAPTER_NAME].weight, layer.lora_B[ADAPTER_NAME].weight  # (rank, in), (out, rank)
    rows = torch.empty(config.r - len(down), down.shape[1])
    nn.init.kaiming_uniform_(rows, a=math.sqrt(5))
    columns = up.new_zeros(len(up), len(rows))
    return _exchange(layer, torch.cat([down, rows.to(down)]), torch.cat([up, columns], dim=1), config)


def _exchange(layer: Any, down: Tensor, up: Tensor, config: Any) -> list[Growth]:
    """Put other matrices of the rank and scale that ``config`` tells into an adapter."""
    layer.r[ADAPTER_NAME], layer.lora_alpha[ADAPTER_NAME] = config.r, config.lora_alpha
    layer.scaling[ADAPTER_NAME] = config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)
    first, second = layer.lora_A[ADAPTER_NAME], layer.lora_B[ADAPTER_NAME]
    first.out_features = second.in_features = config.r
    return [_replace(first, down), _replace(second, up)]


def _replace(linear: Any, weight: Tensor) -> Growth:
    old = linear.weight
    linear.weight = nn.Parameter(weight, requires_grad=old.requires_grad)
    return Growth(old, linear.weight)


def grow_optimizer(optimizer: torch.optim.Optimizer, growths: Sequence[Growth]) -> None:
    """Let an optimizer go on with larger matrices: old directions keep their state, that of new ones is 0.

    Parameter groups keep their order and settings, and the count of steps is that of the whole matrix. So Adam's
    correction for an average that began at 0 no longer helps the new directions: with its usual β₁ = 0.9 and
    β₂ = 0.999, a constant gradient moves them by 3.2 learning rates in the first step after growing, by 6.6 in the
    twelfth, the largest, and by less than 2 after 300.

    Args:
        optimizer: AdamW or another whose state holds tensors of its parameters' shape; as accelerate wraps it, too.
        growths: what :func:`grow_rank` returned.

    Example:
        >>> old, new = nn.Parameter(torch.ones(1, 2)), nn.Parameter(torch.ones(3, 2))
        >>> optimizer = torch.optim.AdamW([old])
        >>> old.grad = torch.ones(1, 2)
        >>> optimizer.step()
        >>> grow_optimizer(optimizer, [Growth(old, new)])
        >>> optimizer.state[new]["exp_avg"][:, 0]
        tensor([0.1000, 0.0000, 0.0000])
    """
    replaced = dict(growths)
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
    for old, new in growths:
        if old in optimizer.state:
            state = optimizer.state.pop(old)
            optimizer.state[new] = {name: _padded(value, old, new) for name, value in state.items()}


def _padded(value: Any, old: Tensor, new: Tensor) -> Any:
    """Return a moment with zeros where ``new`` is larger than ``old``; anything else, such as a count, as it is."""
    if not isinstance(value, Tensor) or value.shape != old.shape:
        return value
    padded = value.new_zeros(new.shape)
    padded[: old.shape[0], : old.shape[1]] = value
    return padded


def _saved_config(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"{path}: not a readable adapter configuration; give the folder of a saved adapter") from None
    return config


def fit_to_checkpoint(model: PeftModel, folder: Path) -> None:
    """Give adapters the rank and scale of those in a folder, so that its weights can be loaded into them.

    Where rank and alpha differ, the matrices are exchanged for zeros: load the weights next, and make an optimizer only
    then. AdaLoRA's checkpoints have all directions, so there is nothing to fit.

    Raises:
        ModelError: there is no readable adapter configuration in the folder.
    """
    config, saved = model.peft_config[ADAPTER_NAME], _saved_config(folder)
    if isinstance(model.base_model, AdaLoraModel) or (saved["r"], saved["lora_alpha"]) == (config.r, config.lora_alpha):
        return
    config.r, config.lora_alpha = saved["r"], saved["lora_alpha"]
    with torch.no_grad():
        for _, layer in _adapters(model):
            down, up = layer.lora_A[ADAPTER_NAME].weight, layer.lora_B[ADAPTER_NAME].weight
            _exchange(layer, down.new_zeros(config.r, down.shape[1]), up.new_zeros(len(up), config.r), config)
