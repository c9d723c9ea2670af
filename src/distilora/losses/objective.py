"""What a run minimises: its loss terms and how much each of them weighs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from distilora.config import DistillationSettings
from distilora.losses.consistency import r_drop_loss
from distilora.losses.imbalance import focal_loss
from distilora.losses.terms import cosine_hidden_loss, cosine_logit_loss, hard_target_loss, soft_target_loss
from distilora.losses.transfer import (
    attention_distribution_loss,
    attention_map_loss,
    hidden_state_loss,
    relation_loss,
    weighted_mean,
    wide,
)
from distilora.models.taps import LayerInside, token_pairs

LABELS_ONLY = DistillationSettings(hard=1.0, soft=0.0, cosine_logits=0.0, cosine_hidden=0.0)
"""The weights of a method that learns from labels alone."""
UNLABELLED = -100
"""Stands in the place of a label where nobody gave one; only the teacher says something of such a row."""
_OF_LABELS = {"hard", "lora"}


@dataclass(frozen=True, eq=False)
class LayerPairs:
    """What layers of a student computed for a batch, and the teacher layers that they came from."""

    student: Sequence[LayerInside]
    teacher: Sequence[LayerInside]
    states: Sequence[Tensor]
    """Of the student's layers at the teacher's width, each of shape (batch, tokens, width)."""
    attention_mask: Tensor
    """Shape (batch, tokens)."""
    weights: Tensor
    """How much each pair counts, 1 on average, shape (pairs,)."""

    def count(self, term: str) -> Tensor:
        """Return how many things a term is a mean of, as an integer of shape ().

        They are the real tokens; of attention scores all pairs of real tokens of one text, also where a layer sees only
        a window of them.
        """
        lengths = self.attention_mask.sum(dim=1)
        return (lengths.square() if term == "attention" else lengths).sum()


@dataclass(frozen=True)
class Objective:
    """The terms that a run minimises, by name, and their weights."""

    weights: DistillationSettings = LABELS_ONLY
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    """How much a row of each class counts in the cross-entropy, shape (labels,)."""
    focal_gamma: float = 0.0
    """Of the focal loss that takes the cross-entropy's place; 0: the cross-entropy."""
    r_drop: float = 0.0
    """Weight of the divergence between two passes."""
    adapted: float = 0.0
    """Weight of the cross-entropy that a model has with its adapters, where it learns without them as well."""

    @property
    def fixed(self) -> dict[str, float]:
        """Return the weight of each term that has one, by name, always in the same order."""
        weights = {name: float(getattr(self.weights, name)) for name in ("hard", "soft", "cosine_logits", *_OF_PAIRS)}
        weights |= {"r_drop": self.r_drop, "lora": self.adapted}
        return {name: weight for name, weight in weights.items() if weight}

    def terms(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        teacher_logits: Tensor | None = None,
        adapted_logits: Tensor | None = None,
        passes: int = 1,
    ) -> dict[str, Tensor]:
        """Return each term of the answers that has a weight, unweighted, by its name.

        Where no row has a label, terms of the labels are left out, if there are others: a loss of 0 would let weights
        that adapt take those terms for learnt.

        Args:
            logits: the model's, shape (batch, labels).
            labels: index of the true class, or :data:`UNLABELLED`, shape (batch,).
            teacher_logits: shape (batch, labels); needed by ``soft`` and ``cosine_logits``.
            adapted_logits: with adapters, where ``logits`` are without; needed by ``lora``.
            passes: 2 where the batch holds the same rows twice, once for each pass that ``r_drop`` compares.
        """
        names = set(self.fixed)
        if not (labels != UNLABELLED).any():
            names = names - _OF_LABELS or names
        terms: dict[str, Tensor] = {}
        if "hard" in names:
            terms["hard"] = self._hard(logits, labels)
        if teacher_logits is not None and "soft" in names:
            terms["soft"] = soft_target_loss(logits, teacher_logits, temperature=self.weights.temperature)
        if teacher_logits is not None and "cosine_logits" in names:
            terms["cosine_logits"] = cosine_logit_loss(logits, teacher_logits)
        if passes == 2 and "r_drop" in names:
            first, second = logits.chunk(2)
            terms["r_drop"] = r_drop_loss(first, second)
        if adapted_logits is not None and "lora" in names:
            terms["lora"] = self._hard(adapted_logits, labels)
        return terms

    def pair_terms(self, pairs: LayerPairs) -> dict[str, Tensor]:
        """Return the terms that look inside, unweighted, by name: each the mean over the pairs, weighted by pair."""
        return {
            name: weighted_mean(loss(pairs), pairs.weights) for name, loss in _OF_PAIRS.items() if name in self.fixed
        }

    def _hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the rows that have a label; where none has one, 0 that gradients flow through."""
        known = labels != UNLABELLED
        if not known.all():
            logits, labels = logits[known], labels[known]
        if not len(labels):
            return logits.sum()  # of no rows
        class_weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        if self.focal_gamma:
            return focal_loss(logits, labels, gamma=self.focal_gamma, class_weights=class_weights)
        return hard_target_loss(logits, labels, class_weights=class_weights, label_smoothing=self.label_smoothing)


def _cosine_hidden(pairs: LayerPairs) -> list[Tensor]:
    return [
        cosine_hidden_loss(wide(states)[None], wide(teacher.states)[None], pairs.attention_mask)
        for states, teacher in zip(pairs.states, pairs.teacher, strict=True)
    ]


def _hidden(pairs: LayerPairs) -> list[Tensor]:
    return [
        hidden_state_loss(states, teacher.states, pairs.attention_mask)
        for states, teacher in zip(pairs.states, pairs.teacher, strict=True)
    ]


def _attention(pairs: LayerPairs) -> list[Tensor]:
    return [
        attention_map_loss(student.scores(), teacher.scores(), token_pairs(pairs.attention_mask, window=teacher.window))
        for student, teacher in zip(pairs.student, pairs.teacher, strict=True)
    ]


def _relations(pairs: LayerPairs) -> list[Tensor]:
    """Return of each pair MiniLM's two losses together: where tokens attend to, and how their values relate."""
    return [
        attention_distribution_loss(
            student.scores(), teacher.scores(), token_pairs(pairs.attention_mask, window=teacher.window)
        )
        + relation_loss(student.values, teacher.values, pairs.attention_mask)
        for student, teacher in zip(pairs.student, pairs.teacher, strict=True)
    ]


_OF_PAIRS: Mapping[str, Callable[[LayerPairs], list[Tensor]]] = {
    "cosine_hidden": _cosine_hidden,
    "hidden": _hidden,
    "attention": _attention,
    "relations": _relations,
}
"""Terms that look inside, each a loss a pair of layers."""
