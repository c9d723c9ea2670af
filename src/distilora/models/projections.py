"""Learned maps from a student's width to its teacher's, for losses that compare hidden states.

They stand beside the student and are no part of it: saving or exporting the student leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distilora.models.loading import seeded


class Projections(nn.Module):
    """Linear maps without bias from student states to the teacher's width: one for each pair of layers, or one for all.

    Where both widths are the same they begin as the identity, because a student's layers begin as copies of the
    teacher's; elsewhere as random maps that keep lengths, or shorten them where the teacher is narrower.

    Their parameters belong to the optimiser beside the student's; a checkpoint of the training keeps their state dict.

    Args:
        pairs: how many pairs of layers are compared.
        student_width: of the student's hidden states.
        teacher_width: of the teacher's.
        shared: whether all pairs have one map.
        seed: of the random start.

    Raises:
        ValueError: there is no pair.

    Source:
        W_h of TinyBERT: Jiao et al. (2020), §3.1, eq. 8, https://arxiv.org/abs/1909.10351.

    Example:
        >>> projections = Projections(2, student_width=3, teacher_width=5, shared=False, seed=0)
        >>> [tuple(states.shape) for states in projections([torch.ones(1, 4, 3)] * 2)]
        [(1, 4, 5), (1, 4, 5)]
    """

    def __init__(self, pairs: int, *, student_width: int, teacher_width: int, shared: bool, seed: int) -> None:
        super().__init__()
        if pairs < 1:
            raise ValueError(f"pairs is {pairs}, must be at least 1")
        self.pairs = pairs
        with seeded(seed):
            maps = [_start(student_width, teacher_width) for _ in range(1 if shared else pairs)]
        self.maps = nn.ModuleList(maps)

    def forward(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Return the states of each pair's student layer at the teacher's width.

        Args:
            states: one a pair, shape (…, student width).

        Returns:
            One a pair, shape (…, teacher width).

        Raises:
            ValueError: there are more or fewer states than pairs.
        """
        if len(states) != self.pairs:
            raise ValueError(f"{len(states)} states for {self.pairs} pairs of layers: give one a pair")
        last = len(self.maps) - 1
        return [self.maps[min(place, last)](state) for place, state in enumerate(states)]


def _start(student_width: int, teacher_width: int) -> nn.Linear:
    linear = nn.Linear(student_width, teacher_width, bias=False)
    with torch.no_grad():
        if student_width == teacher_width:
            nn.init.eye_(linear.weight)
        else:
            nn.init.orthogonal_(linear.weight)
    return linear
