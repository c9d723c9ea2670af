"""A cross-entropy for classes of very different sizes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, labels: Tensor, *, gamma: float, class_weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy with rows that are easy weighed down: −(1 − p)^γ ln p of the true class.

    Args:
        logits: scores before softmax, shape (batch, labels).
        labels: index of the true class, shape (batch,).
        gamma: γ, at least 0, no unit; 0 is the plain cross-entropy, the paper found 2 best.
        class_weights: how much a row of each class counts, shape (labels,); absent: all the same.

    Returns:
        Mean over the batch in nats, weighted by class as in
        :func:`distilora.losses.terms.hard_target_loss`; shape ().

    Raises:
        ValueError: ``gamma`` is below 0, or the shapes do not fit.

    Source:
        Lin et al. (2017), §3.2, eq. 4 and 5, https://arxiv.org/abs/1708.02002, with softmax in the place of its
        sigmoid, the same where there are two classes.

    Example:
        >>> focal_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), gamma=2.0)  # ln 2 · 0.5²
        tensor(0.1733)
    """
    if not gamma >= 0:
        raise ValueError(f"gamma is {gamma}, must be at least 0")
    log_true = -functional.cross_entropy(logits, labels, reduction="none")  # (batch,): ln p
    # 1 − p without its rounding where p is nearly 1; a power below 1 has no gradient at 0.
    missing = (-log_true.expm1()).clamp(min=torch.finfo(log_true.dtype).tiny)
    losses = -(missing**gamma) * log_true
    if class_weights is None:
        return losses.mean()
    weights = class_weights[labels]  # (batch,)
    return (weights * losses).sum() / weights.sum()
