"""Which rows stand together in a training step, and a step's tensors.

Texts of like length share a batch, so that little is padding: 7 % of the tokens of tweets in batches of 32, 3 % before
lengths are rounded up, where shuffled batches have 59 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from distilora.data.tokens import EncodedTexts

Batch = dict[str, Tensor]


class LengthSortedBatches(Sampler[list[int]]):
    """Batches of like length in random order: a pure function of lengths, seed, epoch and rank.

    Every epoch draws anew which texts of equal length stand together and the order of the batches. With several
    processes all of them compute the same batches and each takes its share of every one: texts ``rank``,
    ``rank + processes`` and so on, of like length as well. So a step sees the same texts, and an epoch has as many
    steps, on any number of processes; only the last of an epoch may have fewer texts than there are processes, and is
    then shown to more than one.

    Args:
        lengths: tokens of each text, shape (texts,).
        batch_size: texts a batch, of all processes together; the last of an epoch may be smaller.
        seed: of the draws.
        rank: number of this process, from 0.
        processes: how many there are.

    Example:
        >>> batches = LengthSortedBatches(np.array([9, 2, 9, 2]), batch_size=2, seed=0)
        >>> sorted(sorted(batch) for batch in batches)
        [[0, 2], [1, 3]]
    """

    def __init__(
        self, lengths: NDArray[np.int64], *, batch_size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of ``epoch``, from 0, from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(len(self.lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the positions of this process's share of each batch of the epoch."""
        draw = np.random.default_rng([self.seed, self.epoch])
        shuffled = draw.permutation(len(self.lengths))
        by_length = shuffled[np.argsort(self.lengths[shuffled], kind="stable")]
        batches = [by_length[start : start + self.batch_size] for start in range(0, len(by_length), self.batch_size)]
        for index in draw.permutation(len(batches)):
            batch = batches[index].tolist()
            yield batch[self.rank :: self.processes] or [batch[self.rank % len(batch)]]


@dataclass(frozen=True, eq=False)
class LabelledRows(Dataset[Batch]):
    """Encoded texts with labels and, for students, the teacher's logits; hands out whole padded batches."""

    texts: EncodedTexts
    labels: NDArray[np.int64]
    """Index of each text's class, or ``UNLABELLED`` of :mod:`distilora.losses.objective`, shape (texts,)."""
    teacher_logits: NDArray[np.float32] | None = None
    """Shape (texts, labels)."""

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Return one batch: ids and mask of shape (rows, longest), labels (rows,), teacher logits (rows, labels)."""
        ids, mask = self.texts.padded(rows)
        batch = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.from_numpy(self.labels[rows]),
        }
        if self.teacher_logits is not None:
            batch["teacher_logits"] = torch.from_numpy(self.teacher_logits[rows])
        return batch


class EpochLoader(DataLoader[Batch]):
    """A loader of whole batches that passes the epoch on to its sampler."""

    def __init__(self, rows: LabelledRows, batches: LengthSortedBatches) -> None:
        super().__init__(rows, batch_sampler=batches, collate_fn=_as_it_is)
        self._batches = batches

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of ``epoch``, from 0, from now on."""
        self._batches.set_epoch(epoch)


def _as_it_is(batch: Any) -> Any:
    return batch
