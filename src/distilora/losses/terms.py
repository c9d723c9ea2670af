"""The terms of a training loss, each a pure function of logits or hidden states."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def hard_target_loss(
    logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy with the true labels.

    Args:
        logits: scores before softmax, shape (batch, labels).
        labels: index of the true class, shape (batch,).
        class_weights: how much a row of each true class counts, shape (labels,); absent: all the same.
        label_smoothing: share of the target that is spread evenly over all classes, from 0 to below 1.

    Returns:
        Mean over the batch in nats, weighted by class; shape ().

    Raises:
        ValueError: the shapes do not fit.

    Source:
        Label smoothing: Szegedy et al. (2016), §7, https://arxiv.org/abs/1512.00567.

    Example:
        >>> import torch
        >>> hard_target_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor(0.6931)
    """
    if class_weights is None or not label_smoothing:
        return functional.cross_entropy(logits, labels, weight=class_weights, label_smoothing=label_smoothing)
    # Given both, PyTorch weighs what is spread over a class by the weight of that class, which leans to rare ones.
    losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    weights = class_weights[labels]
    return (weights * losses).sum() / weights.sum()


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Return T² · KL(teacher ‖ student), with both softened by temperature T.

    Args:
        student_logits: scores before softmax, shape (batch, labels).
        teacher_logits: same shape; held constant, so no gradient reaches the teacher.
        temperature: T, above 0, no unit; 1 leaves predictions alone, higher softens them.

    Returns:
        Mean over the batch in nats, times T²; shape (). T² keeps gradients comparable as T changes.

    Raises:
        ValueError: the shapes differ, or ``temperature`` is not above 0.

    Source:
        Hinton, Vinyals & Dean (2015), §2, https://arxiv.org/abs/1503.02531.

    Example:
        >>> import torch
        >>> soft_target_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, 0.0]]), temperature=2.0)
        tensor(1.8485)
    """
    _require_same_shape(student_logits, teacher_logits)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, must be above 0")
    student = functional.log_softmax(student_logits / temperature, dim=-1)
    teacher = functional.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def cosine_logit_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Return 1 − cosine between the logits of student and teacher.

    Args:
        student_logits: scores before softmax, shape (batch, labels).
        teacher_logits: same shape; held constant.

    Returns:
        Mean over the batch, from 0 (same direction) to 2 (opposite); no unit; shape ().

    Raises:
        ValueError: the shapes differ.

    Source:
        The third term of the five earlier projects. Softmax ignores a constant added to all logits, this does not.

    Example:
        >>> import torch
        >>> cosine_logit_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        tensor(1.)
    """
    _require_same_shape(student_logits, teacher_logits)
    return (1 - functional.cosine_similarity(student_logits, teacher_logits.detach(), dim=-1)).mean()


def cosine_hidden_loss(student_states: Tensor, teacher_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return 1 − cosine between hidden states, token by token, padding left out.

    Args:
        student_states: output of the student's layers, shape (layers, batch, tokens, width).
        teacher_states: output of the teacher layers that they came from, same shape; held constant.
        attention_mask: 1 on tokens, 0 on padding, shape (batch, tokens).

    Returns:
        Mean over layers and real tokens, from 0 to 2; no unit; shape ().

    Raises:
        ValueError: the shapes differ.

    Source:
        Sanh et al. (2019), §3, https://arxiv.org/abs/1910.01108.

    Example:
        >>> import torch
        >>> states = torch.ones(1, 1, 2, 4)
        >>> cosine_hidden_loss(states, -states, torch.tensor([[1, 0]]))
        tensor(2.)
    """
    _require_same_shape(student_states, teacher_states)
    distance = 1 - functional.cosine_similarity(student_states, teacher_states.detach(), dim=-1)
    real = attention_mask.to(distance.dtype).expand_as(distance)  # (layers, batch, tokens)
    return (distance * real).sum() / real.sum()


def _require_same_shape(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(f"student has shape {tuple(student.shape)}, teacher {tuple(teacher.shape)}: must be the same")


__all__ = ["cosine_hidden_loss", "cosine_logit_loss", "hard_target_loss", "soft_target_loss"]
