"""Two passes of the same texts through a model with dropout should agree."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def r_drop_loss(first_logits: Tensor, second_logits: Tensor) -> Tensor:
    """Return the mean of KL(first ‖ second) and KL(second ‖ first); gradients reach both passes.

    Args:
        first_logits: scores before softmax of one pass, shape (batch, labels).
        second_logits: of another pass of the same texts, with other dropout, same shape.

    Returns:
        Mean over the batch in nats; shape (). The paper adds it, times α, to the sum of both passes' cross-entropies.

    Raises:
        ValueError: the shapes differ.

    Source:
        Liang et al. (2021), §2.1, eq. 2, https://arxiv.org/abs/2106.14448.

    Example:
        >>> import torch
        >>> r_drop_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, 0.0]]))
        tensor(1.5232)
    """
    if first_logits.shape != second_logits.shape:
        shapes = f"{tuple(first_logits.shape)} and {tuple(second_logits.shape)}"
        raise ValueError(f"the passes have shapes {shapes}: must be the same")
    first = functional.log_softmax(first_logits, dim=-1)
    second = functional.log_softmax(second_logits, dim=-1)
    forth = functional.kl_div(second, first, reduction="batchmean", log_target=True)  # KL(first ‖ second)
    back = functional.kl_div(first, second, reduction="batchmean", log_target=True)
    return (forth + back) / 2
