"""Logits of a model for many texts, without gradients, and where a model computes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distilora.data.tokens import EncodedTexts
from distilora.models.first_token import first_token_only
from distilora.models.precision import fast_device

_TOKENS_A_BATCH = 4096


def compute_logits(
    model: nn.Module,
    texts: EncodedTexts,
    *,
    bf16: bool = False,
) -> NDArray[np.float32]:
    """Return the model's scores before softmax for each text.

    Texts of like length share a batch of about 4,096 tokens. The model is in evaluation mode meanwhile and put back.

    Args:
        model: a classifier whose output has ``logits``.
        texts: what to score.
        bf16: compute matrix products in bfloat16: faster, with errors of about 1 %.

    Returns:
        Array of shape (texts, labels), in the order of ``texts``.
    """
    was_training = model.training
    device = next(model.parameters()).device
    outputs: list[NDArray[np.float32]] = []
    order: list[int] = []
    model.eval()
    with torch.inference_mode(), _autocast(device.type, enabled=bf16), first_token_only(model):
        for rows in batches_of_like_length(texts.lengths):
            ids, mask = (torch.from_numpy(array).to(device) for array in texts.padded(rows))
            logits = model(input_ids=ids, attention_mask=mask).logits
            outputs.append(logits.float().cpu().numpy())
            order.extend(rows)
    model.train(was_training)
    result = np.empty((len(texts), outputs[0].shape[1]), dtype=np.float32)
    result[order] = np.concatenate(outputs)
    return result


@contextmanager
def on_fast_device(model: nn.Module) -> Iterator[None]:
    """Let a model stand meanwhile where it answers soonest; then it is back, and holds no memory of a GPU.

    Models are opened on processors, and only a training moves them: this is for those that are asked before.
    """
    before = next(model.parameters()).device
    model.to(fast_device())
    try:
        yield
    finally:
        model.to(before)


def _autocast(device: str, *, enabled: bool) -> AbstractContextManager[object]:
    return torch.autocast(device, dtype=torch.bfloat16) if enabled else nullcontext()


def batches_of_like_length(lengths: NDArray[np.int64]) -> Iterator[list[int]]:
    """Yield positions, longest texts first, so many that a padded batch holds about 4,096 tokens.

    Args:
        lengths: tokens of each text, shape (texts,).
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, _TOKENS_A_BATCH // int(max(1, lengths[order[start]])))
        yield order[start : start + size].tolist()
        start += size
