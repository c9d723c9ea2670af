"""A teacher that runs beside its student, and what is learned of their layers together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.losses.balancing import RunningMean
from distilora.losses.objective import LayerPairs
from distilora.losses.transfer import pair_similarities, pair_weights
from distilora.models.projections import Projections
from distilora.models.taps import LayerTaps, tap_layers
from distilora.training.sharing import mean_of_all

_MOMENTUM = 0.99
"""Similarities are means over about 100 steps: one batch says little."""


@dataclass(frozen=True, eq=False)
class LiveTeacher:
    """A teacher that runs beside the student, for terms that need more than its logits."""

    model: PreTrainedModel
    layers: Sequence[int]
    """For each student layer the number, from 1, of the teacher layer that it came from."""
    sharpness: float = 0.0
    """Of the weights of the pairs, see :func:`distilora.losses.transfer.pair_weights`."""
    projection: bool = False
    """Whether hidden states are compared through a learned map even where both widths are the same."""
    seed: int = 0
    """Of the map's random start."""


class LayerMatcher(nn.Module):
    """Pairs the layers of a student with those of its teacher, batch by batch.

    Its parameters, if it has any, belong to the optimiser; its state dict is all that a checkpoint must keep of it.

    Args:
        teacher: and which of its layers.
        student: the model that is trained; only listened to.
    """

    def __init__(self, teacher: LiveTeacher, student: nn.Module) -> None:
        super().__init__()
        # In a list, so that neither model is part of this one.
        self._models = [teacher.model, student]
        self._teacher = teacher
        widths = [_width(student), _width(teacher.model)]
        self.projections: Projections | None = None
        if teacher.projection or widths[0] != widths[1]:
            self.projections = Projections(
                len(teacher.layers),
                student_width=widths[0],
                teacher_width=widths[1],
                shared=False,
                seed=teacher.seed,
            )
        self.similarities = RunningMean(len(teacher.layers), momentum=_MOMENTUM)
        self._taps: tuple[LayerTaps, LayerTaps] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to both models meanwhile."""
        model, student = self._models
        numbers = range(1, len(self._teacher.layers) + 1)
        with tap_layers(student, numbers) as own, tap_layers(model, self._teacher.layers) as others:
            self._taps = (own, others)
            yield
        self._taps = None

    @property
    def weights(self) -> Tensor:
        """Return how much each pair counts now, shape (pairs,)."""
        return pair_weights(self.similarities.read().nan_to_num(0.0), sharpness=self._teacher.sharpness)

    def match(self, inputs: Mapping[str, Tensor], *, observe: bool) -> LayerPairs:
        """Return the layers' pairs for a batch that the student has just answered, hidden states asked for.

        Args:
            inputs: ``input_ids`` and ``attention_mask``, shape (batch, tokens).
            observe: whether the batch belongs to training and so counts in the weights.
        """
        if self._taps is None:
            raise RuntimeError("nobody listens: match inside listening()")
        own, others = self._taps
        with torch.no_grad():
            self._teacher.model(**inputs)
        students = [own[number] for number in range(1, len(self._teacher.layers) + 1)]
        teachers = [others[number] for number in self._teacher.layers]
        states = [student.states for student in students]
        if self.projections is not None:
            states = self.projections([state.float() for state in states])
        mask = inputs["attention_mask"]
        if observe and self._teacher.sharpness:
            found = pair_similarities(states, [teacher.states for teacher in teachers], mask)
            found = mean_of_all(found, count=mask.sum())
            self.similarities.update(range(len(found)), found)
        return LayerPairs(students, teachers, states, mask, self.weights)


def _width(model: nn.Module) -> int:
    encoder = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
    return int(encoder.config.hidden_size)
