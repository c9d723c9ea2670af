"""AdaLoRA: adapters that begin with too many directions, of which training keeps the most important ones.

Zhang et al. (2023), https://arxiv.org/abs/2303.10512. An adapter is B·diag(E)·A; a direction whose singular value in E
is 0 is out. peft has the method but leaves three things to its caller: the call at every step, at the right moment; the
penalty that keeps directions orthogonal, wherever the loss is not the model's own; and a state to resume from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from distilora.models.rank import ADAPTER_NAME

_MOMENTS = ("exp_avg_ipt", "exp_avg_unc")
_PATTERN = "rank_pattern"


@dataclass(frozen=True)
class RankAllocation:
    """When and how far AdaLoRA takes directions away; the rank of the settings is the average at the end."""

    start: float = 1.5
    """Rank at the beginning, in multiples of the rank at the end; above 1, as in the paper."""
    warm_up: float = 0.1
    """Share of all steps before the first direction is taken."""
    final: float = 0.5
    """Share of all steps, at the end, in which the ranks no longer change."""
    every: int = 10
    """Steps between two decisions."""
    orthogonality: float = 0.1
    """Weight of :func:`orthogonality_penalty` in the loss; the paper used 0.1 to 0.5."""

    def first_rank(self, rank: int) -> int:
        """Return the rank that every adapter begins with, at least one above ``rank``.

        Example:
            >>> RankAllocation().first_rank(8)
            12
        """
        return max(rank + 1, math.ceil(self.start * rank))


def set_schedule(model: PeftModel, allocation: RankAllocation, *, steps: int) -> None:
    """Tell an AdaLoRA model how many steps its training has.

    Raises:
        ValueError: there are too few steps for any to stand between warm-up and end.
    """
    config = model.peft_config[ADAPTER_NAME]
    config.total_step = steps
    config.tinit, config.tfinal = int(allocation.warm_up * steps), int(allocation.final * steps)
    if config.tinit >= steps - config.tfinal:
        raise ValueError(f"AdaLoRA: {steps} steps leave none between warm-up and end in which to take directions away")


def allocate(model: PeftModel, step: int, pattern: dict[str, list[bool]] | None) -> dict[str, list[bool]] | None:
    """Weigh all directions by their last gradients and set what is not worth its place to 0.

    Call this after the optimizer's step and before the gradients are deleted.

    Args:
        model: an AdaLoRA model.
        step: how many steps are done, from 1.
        pattern: what the last call returned.

    Returns:
        By name, which directions the last decision kept; nothing before the first decision. It does not stay in the
        model's configuration, for there it would cut directions off every checkpoint: those that were taken may come
        back until the ranks no longer change.
    """
    config = model.peft_config[ADAPTER_NAME]
    config.rank_pattern = pattern
    try:
        model.base_model.update_and_allocate(step)
        decided: dict[str, list[bool]] | None = config.rank_pattern
    finally:
        config.rank_pattern = None
    return decided


def keep_ranks(model: PeftModel) -> None:
    """Let what is saved of a trained AdaLoRA model from now on hold only the directions that are not 0.

    Where none is left, one is saved none the less: an empty matrix looks to peft like one that was lost.
    """
    singular = {name: values for name, values in _plain(model).named_parameters() if f"lora_E.{ADAPTER_NAME}" in name}
    kept = {name: (values != 0).flatten().tolist() for name, values in singular.items()}
    for directions in kept.values():
        directions[0] |= not any(directions)
    model.peft_config[ADAPTER_NAME].rank_pattern = kept


def _plain(model: PeftModel) -> Any:
    return model.base_model.model


def orthogonality_penalty(model: PeftModel) -> Tensor:
    """Return how far AdaLoRA's directions are from orthonormal ones: the mean of ‖AAᵀ − I‖ and ‖BᵀB − I‖.

    peft adds this to the model's own loss, which is not computed where the loss is another, as with a teacher.

    Args:
        model: an AdaLoRA model.

    Returns:
        The mean of the Frobenius norms over all matrices A and B, shape (); not squared, as peft has it.

    Source:
        Zhang et al. (2023), §3.1, eq. 4, there squared and summed.
    """
    weights = dict(_plain(model).named_parameters())
    grams = [weight @ weight.T for name, weight in weights.items() if f"lora_A.{ADAPTER_NAME}" in name]
    grams += [weight.T @ weight for name, weight in weights.items() if f"lora_B.{ADAPTER_NAME}" in name]
    stacked = torch.stack(grams)  # (matrices, rank, rank)
    apart = stacked - torch.eye(stacked.shape[-1], device=stacked.device)
    penalty: Tensor = torch.linalg.matrix_norm(apart).mean()
    return penalty


def allocator_state(model: PeftModel, pattern: dict[str, list[bool]] | None) -> dict[str, Tensor]:
    """Return what a resumed training must know beside the weights: smoothed importances and the last decision."""
    allocator = model.base_model.rankallocator
    state = {f"{moment}/{name}": value for moment in _MOMENTS for name, value in getattr(allocator, moment).items()}
    return state | {f"{_PATTERN}/{name}": torch.tensor(kept) for name, kept in (pattern or {}).items()}


def restore_allocator(model: PeftModel, state: dict[str, Tensor]) -> dict[str, list[bool]] | None:
    """Put back what :func:`allocator_state` returned; return the last decision."""
    allocator = model.base_model.rankallocator
    allocator.reset_ipt()
    pattern = {}
    for key, value in state.items():
        kind, _, name = key.partition("/")
        if kind == _PATTERN:
            pattern[name] = value.tolist()
        else:
            getattr(allocator, kind)[name] = value
    allocator.ipt = dict(allocator.exp_avg_ipt)  # computed anew before it is read, but peft asks for its names
    return pattern or None
