"""Losses that look inside: attention and hidden states of a student's layer beside those of its teacher layer.

Each is of one pair of layers and a mean over the batch, so that it can be weighed and reported pair by pair. What a
layer has inside is collected by :func:`distilora.models.taps.tap_layers`. The teacher is held constant throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def attention_map_loss(student_scores: Tensor, teacher_scores: Tensor, pairs: Tensor) -> Tensor:
    """Return the mean squared difference of attention scores before softmax.

    Before softmax, as in the paper, which found that to be faster and better, and as in its authors' code. There padded
    places count as 0; here they are left out, so that padding does not dilute the loss.

    Args:
        student_scores: before softmax and unmasked, shape (batch, heads, tokens, tokens).
        teacher_scores: same shape; held constant.
        pairs: which tokens may look at which, shape (batch, 1, tokens, tokens), from
            :func:`distilora.models.taps.token_pairs`.

    Returns:
        Mean over heads and all pairs of the batch; no unit; shape ().

    Raises:
        ValueError: the shapes differ.

    Source:
        Jiao et al. (2020), §3.1, eq. 7, https://arxiv.org/abs/1909.10351.

    Example:
        >>> attention_map_loss(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0), torch.ones(1, 1, 2, 2).bool())
        tensor(9.)
    """
    _require_same_shape(student_scores, teacher_scores)
    squares = functional.mse_loss(wide(student_scores), wide(teacher_scores.detach()), reduction="none")
    return squares.masked_fill(~pairs, 0).sum() / (pairs.sum() * squares.shape[1])


def hidden_state_loss(student_states: Tensor, teacher_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean squared difference of hidden states, padding left out.

    Args:
        student_states: of one layer, at the teacher's width
            (:class:`distilora.models.projections.Projections` brings them there), shape (batch, tokens, width).
        teacher_states: of the teacher layer, same shape; held constant.
        attention_mask: 1 on tokens, 0 on padding, shape (batch, tokens).

    Returns:
        Mean over real tokens and width; no unit; shape ().

    Raises:
        ValueError: the shapes differ.

    Source:
        Jiao et al. (2020), §3.1, eq. 8, https://arxiv.org/abs/1909.10351.

    Example:
        >>> hidden_state_loss(torch.zeros(1, 2, 4), torch.full((1, 2, 4), 3.0), torch.tensor([[1, 0]]))
        tensor(9.)
    """
    _require_same_shape(student_states, teacher_states)
    squares = functional.mse_loss(wide(student_states), wide(teacher_states.detach()), reduction="none").mean(dim=-1)
    real = attention_mask.bool()
    return squares.masked_fill(~real, 0).sum() / real.sum()


def attention_distribution_loss(student_scores: Tensor, teacher_scores: Tensor, pairs: Tensor) -> Tensor:
    """Return KL(teacher ‖ student) between where each token attends to: the softmax of its scores.

    Args:
        student_scores: before softmax and unmasked, shape (batch, heads, tokens, tokens).
        teacher_scores: same shape; held constant.
        pairs: which tokens may look at which, shape (batch, 1, tokens, tokens).

    Returns:
        Mean over heads and tokens that may look, in nats; shape ().

    Raises:
        ValueError: the shapes differ.

    Source:
        MiniLM: Wang et al. (2020), §3.1, https://arxiv.org/abs/2002.10957.

    Example:
        >>> scores = torch.tensor([[[[0.0, 2.0], [0.0, 2.0]]]])
        >>> attention_distribution_loss(scores, scores.flip(-1), torch.ones(1, 1, 2, 2).bool())
        tensor(1.5232)
    """
    _require_same_shape(student_scores, teacher_scores)
    student, teacher = (_log_attention(scores, pairs) for scores in (student_scores, teacher_scores.detach()))
    rows = pairs.any(dim=-1)  # (batch, 1, tokens)
    divergence = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    return divergence.masked_fill(~rows, 0).sum() / (rows.sum() * divergence.shape[1])


def relation_loss(student_vectors: Tensor, teacher_vectors: Tensor, attention_mask: Tensor) -> Tensor:
    """Return KL(teacher ‖ student) between relations: softmax over tokens j of vᵢ · vⱼ / √width, for each token i.

    Of values it is MiniLM's value relation. Widths may differ.

    Args:
        student_vectors: such as the values of one layer, shape (batch, heads, tokens, head width).
        teacher_vectors: the same of the teacher layer, of any width; held constant.
        attention_mask: 1 on tokens, 0 on padding, shape (batch, tokens).

    Returns:
        Mean over heads and real tokens, in nats; shape ().

    Raises:
        ValueError: the numbers of heads or tokens differ.

    Source:
        Wang et al. (2020), §3.2, https://arxiv.org/abs/2002.10957.

    Example:
        >>> values = torch.eye(2).reshape(1, 1, 2, 2)
        >>> relation_loss(values, 2 * values, torch.ones(1, 2))
        tensor(0.2250)
    """
    real = attention_mask.bool()
    pairs = real[:, None, :, None] & real[:, None, None, :]
    student, teacher = (_relations(vectors) for vectors in (student_vectors, teacher_vectors))
    return attention_distribution_loss(student, teacher, pairs)


def pair_similarities(
    student_states: Sequence[Tensor], teacher_states: Sequence[Tensor], attention_mask: Tensor
) -> Tensor:
    """Return how alike the hidden states of each pair of layers are: the mean cosine over real tokens.

    Args:
        student_states: one a pair, at the teacher's width, shape (batch, tokens, width).
        teacher_states: of the teacher layers, same shapes.
        attention_mask: 1 on tokens, 0 on padding, shape (batch, tokens).

    Returns:
        From −1 (opposite) to 1 (same direction), without gradient; shape (pairs,).

    Example:
        >>> pair_similarities([torch.ones(1, 2, 4)], [-torch.ones(1, 2, 4)], torch.tensor([[1, 0]]))
        tensor([-1.])
    """
    real = attention_mask.bool()
    cosines = [
        functional.cosine_similarity(student.detach()[real], teacher.detach()[real], dim=-1).mean()
        for student, teacher in zip(student_states, teacher_states, strict=True)
    ]
    return torch.stack(cosines)


def pair_weights(similarities: Tensor, *, sharpness: float) -> Tensor:
    """Return how much each pair of layers counts, from how alike its layers are: n · softmax(sharpness · similarity).

    The weights average 1, so the loss keeps its scale, and are the learned importance of each layer in the report.
    Give the running mean of similarities (:class:`distilora.losses.balancing.RunningMean`): one batch says little.

    Args:
        similarities: of each pair, such as :func:`pair_similarities`, at most 1; shape (pairs,).
        sharpness: β, no unit. Above 0 the alike count more: what a layer cannot learn from its teacher layer does not
            hold it back. Below 0 those that lag behind count more. At 0 all count 1.

    Returns:
        Above 0, without gradient, shape (pairs,).

    Source:
        Softmax over similarities as in ALP-KD: Passban et al. (2021), https://arxiv.org/abs/2012.14022; there over the
        teacher layers of one student layer, here over the pairs.

    Example:
        >>> pair_weights(torch.tensor([0.9, 0.4]), sharpness=2.0)
        tensor([1.4621, 0.5379])
    """
    return len(similarities) * torch.softmax(sharpness * similarities.detach(), dim=0)


def weighted_mean(losses: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return the mean over the pairs of weight times loss, shape (); the weights, shape (pairs,), are held constant.

    Example:
        >>> weighted_mean([torch.tensor(1.0), torch.tensor(3.0)], torch.tensor([1.5, 0.5]))
        tensor(1.5000)
    """
    stacked = torch.stack(list(losses))
    return (weights.detach().to(stacked) * stacked).mean()


def _log_attention(scores: Tensor, pairs: Tensor) -> Tensor:
    """Return the logarithm of the softmax of each row over the tokens that may be seen."""
    widened = wide(scores)
    # Not minus infinity: a row in which nothing may be seen would become NaN.
    return functional.log_softmax(widened.masked_fill(~pairs, torch.finfo(widened.dtype).min), dim=-1)


def wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 where it has fewer bits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _relations(vectors: Tensor) -> Tensor:
    """Return the scaled products of each two tokens' vectors, shape (batch, heads, tokens, tokens)."""
    scale: float = vectors.shape[-1] ** -0.5
    return vectors @ vectors.transpose(-1, -2) * scale


def _require_same_shape(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(f"student has shape {tuple(student.shape)}, teacher {tuple(teacher.shape)}: must be the same")
