"""What a model's weights are: how many, which bytes, and whose memory."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Return how many parameters a model has and how many of them training may change; shared ones count once.

    What peft keeps of a module beside the copy that it trains is not needed to run the model and does not count.
    Count a model whose embedding keeps only seen rows after :func:`distilora.models.embeddings.restore_all_rows`.

    Example:
        >>> parameter_counts(nn.Linear(3, 2))
        (8, 8)
    """
    parameters = [weight for name, weight in model.named_parameters() if ".original_module." not in name]
    total = sum(parameter.numel() for parameter in parameters)
    return total, sum(parameter.numel() for parameter in parameters if parameter.requires_grad)


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of a model's state dict: names, types, shapes and bytes, in the order of the names.

    Equal hashes mean equal weights; the device and the mode (training or not) do not matter.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def shared_storage(one: nn.Module, other: nn.Module) -> list[str]:
    """Return the names of the tensors of ``other`` whose memory ``one`` uses too; empty where each owns its own.

    Buffers count, those that are not saved as well. Tensors without memory (of the meta device) share none.
    """
    taken = {_memory(tensor) for _, tensor in _tensors(one)}
    return [name for name, tensor in _tensors(other) if _memory(tensor)[1] and _memory(tensor) in taken]


def _tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _memory(tensor: torch.Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()
