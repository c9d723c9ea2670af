"""Scores of texts, of which every process computes a share and knows all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from distilora.data.tokens import EncodedTexts, chosen_texts
from distilora.models.inference import compute_logits
from distilora.training.processes import from_all, processes


def shared_logits(model: nn.Module, texts: EncodedTexts, *, bf16: bool = False) -> NDArray[np.float32]:
    """Return what :func:`distilora.models.inference.compute_logits` returns, on every process the same bits.

    With one process it is that. With several each computes the logits of its share of the texts, of like length as
    those of the others; as other texts share a batch, they may differ from one process's in the last digits.

    Args:
        model: a classifier whose output has ``logits``, with the same weights on all processes.
        texts: what to score, the same on all processes.
        bf16: compute matrix products in bfloat16.

    Returns:
        Array of shape (texts, labels), in the order of ``texts``.
    """
    here = processes()
    if here.count == 1:
        return compute_logits(model, texts, bf16=bf16)
    if len(texts) < here.count:  # a process without a text would not know how many labels there are
        return from_all(compute_logits(model, texts, bf16=bf16))[0]
    order = np.argsort(-texts.lengths, kind="stable")
    own = compute_logits(model, chosen_texts(texts, order[here.rank :: here.count]), bf16=bf16)
    logits = np.empty((len(texts), own.shape[1]), dtype=np.float32)
    for rank, share in enumerate(from_all(own)):
        logits[order[rank :: here.count]] = share
    return logits


def rows_of_all(tensors: Mapping[str, Tensor], *, most: int, passes: int = 1) -> dict[str, Tensor]:
    """Return tensors with the rows of all processes: what is computed of them is what one process would compute.

    So a mean that weighs rows by their class is one over the whole batch, not a mean of means. Gradients reach the rows
    of this process alone, times the number of processes, by which averaging them over processes divides.

    Args:
        tensors: by name, each of shape (passes · rows, columns) or (passes · rows,), numbers that float32 holds.
        most: rows that any process has at most.
        passes: how often the same rows stand there, one pass behind the other.

    Returns:
        Tensors of the same type by name, of shape (passes · all rows, columns) or (passes · all rows,), process by
        process within each pass.
    """
    columns = {name: torch.cat(_flat(tensor).chunk(passes), dim=1) for name, tensor in tensors.items()}
    own = torch.cat(list(columns.values()), dim=1)  # (rows, columns)
    own = functional.pad(own, (0, 1, 0, 0), value=1.0)  # a last column tells rows from filling
    gathered: Tensor = _Gathered.apply(functional.pad(own, (0, 0, 0, most - len(own))))  # type: ignore[no-untyped-call]
    known = gathered[gathered[:, -1] == 1, :-1]
    parts = torch.split(known, [part.shape[1] for part in columns.values()], dim=1)
    return {
        name: torch.cat(part.chunk(passes, dim=1)).reshape(-1, *tensor.shape[1:]).to(tensor.dtype)
        for (name, tensor), part in zip(tensors.items(), parts, strict=True)
    }


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(len(tensor), -1).float()


def mean_of_all(tensor: Tensor, *, count: Tensor) -> Tensor:
    """Return the mean over what all processes hold, of a tensor that is the mean over what this one holds.

    Each process counts by how much its mean is of, so the result is what one process would find in the whole batch.
    Gradients reach the part of this process alone, times the number of processes, by which averaging them over
    processes divides.

    Args:
        tensor: mean over ``count`` things, such as tokens; of any shape.
        count: how many they are here, shape ().
    """
    here = processes()
    if here.count == 1:
        return tensor
    own = tensor * count
    sums, counts = own.detach().clone(), count.clone()
    torch.distributed.all_reduce(sums)
    torch.distributed.all_reduce(counts)
    scaled = own * here.count / counts
    return scaled + (sums / counts - scaled).detach()


def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over all processes, as their wrapper of the model does for the model alone."""
    count = processes().count
    if count == 1:
        return
    for parameter in module.parameters():
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= count


class _Gathered(torch.autograd.Function):
    """The rows of all processes, one behind the other; backwards the part of this one, times how many there are."""

    @staticmethod
    def forward(context: Any, own: Tensor) -> Tensor:  # noqa: ARG004
        parts = [torch.empty_like(own) for _ in range(processes().count)]
        torch.distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        here = processes()
        return gradient.chunk(here.count)[here.rank] * here.count
