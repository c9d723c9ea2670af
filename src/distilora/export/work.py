"""How many operations a model needs for a text."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from distilora.bundles.manifest import Work
from distilora.models.first_token import first_token_only

_SHORT, _STEP = 4, 2


def count_work(model: PreTrainedModel) -> Work:
    """Return the operations of matrix products in one text of n tokens, which grow as constant + a·n + b·n².

    Counted are products alone, which are nearly all; of the last layer those of the first token, where the model's head
    reads no other.

    Args:
        model: a plain classifier that takes at least 8 tokens.

    Example:
        >>> Work(constant=100.0, per_token=10.0, per_token_squared=1.0).operations(20)
        700.0
    """
    short, middle, long = (count_operations(model, tokens=_SHORT + step) for step in (0, _STEP, 2 * _STEP))
    squared = (long - 2 * middle + short) / (2 * _STEP**2)
    linear = (middle - short) / _STEP - squared * (2 * _SHORT + _STEP)
    constant = short - linear * _SHORT - squared * _SHORT**2
    return Work(constant=constant, per_token=linear, per_token_squared=squared)


def count_operations(model: PreTrainedModel, *, tokens: int) -> int:
    """Return the operations of one text of so many tokens; a multiplication and an addition are two."""
    ids = torch.full((1, tokens), int(model.config.pad_token_id or 0) + 1)
    counter = FlopCounterMode(display=False)  # it hangs hooks on the graph of gradients, which inference mode lacks
    # The fused attention of processors is a product that the counter does not know.
    with torch.no_grad(), first_token_only(model), sdpa_kernel(SDPBackend.MATH), counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return int(counter.get_total_flops())
