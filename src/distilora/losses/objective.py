"""What a run minimises: the weighted sum of its loss terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from distilora.config import DistillationSettings
from distilora.losses.terms import cosine_hidden_loss, cosine_logit_loss, hard_target_loss, soft_target_loss

LABELS_ONLY = DistillationSettings(hard=1.0, soft=0.0, cosine_logits=0.0, cosine_hidden=0.0)
"""The weights of a method that learns from labels alone."""


@dataclass(frozen=True)
class LayerStates:
    """Hidden states of matching layers; the first two of shape (layers, batch, tokens, width)."""

    student: Tensor
    teacher: Tensor
    attention_mask: Tensor
    """Shape (batch, tokens)."""


@dataclass(frozen=True)
class Objective:
    """The terms that a run minimises, by name, and their weights."""

    weights: DistillationSettings = LABELS_ONLY
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    """How much a row of each class counts in the cross-entropy, shape (labels,)."""

    def terms(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        teacher_logits: Tensor | None = None,
        states: LayerStates | None = None,
    ) -> dict[str, Tensor]:
        """Return each term that has a weight, unweighted, by the name of its setting.

        Args:
            logits: the model's, shape (batch, labels).
            labels: index of the true class, shape (batch,).
            teacher_logits: shape (batch, labels); needed by ``soft`` and ``cosine_logits``.
            states: needed by ``cosine_hidden``; where absent, that term is left out.
        """
        weights = self.weights
        class_weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        terms: dict[str, Tensor] = {}
        if weights.hard:
            terms["hard"] = hard_target_loss(
                logits, labels, class_weights=class_weights, label_smoothing=self.label_smoothing
            )
        if teacher_logits is not None and weights.soft:
            terms["soft"] = soft_target_loss(logits, teacher_logits, temperature=weights.temperature)
        if teacher_logits is not None and weights.cosine_logits:
            terms["cosine_logits"] = cosine_logit_loss(logits, teacher_logits)
        if states is not None and weights.cosine_hidden:
            terms["cosine_hidden"] = cosine_hidden_loss(states.student, states.teacher, states.attention_mask)
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of ``terms``, shape ()."""
        return torch.stack([getattr(self.weights, name) * term for name, term in terms.items()]).sum()
