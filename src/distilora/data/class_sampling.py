"""Batches in which rare classes come more often than in the data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from distilora.data.batches import LengthSortedBatches

_ORDER = 1
"""Sets this module's draws apart from those of the batches, which begin with the same seed."""


def class_shares(counts: NDArray[np.int64], *, power: float) -> NDArray[np.float64]:
    """Return the share that each class has of the rows drawn: each of its rows weighs its frequency to the ``-power``.

    Args:
        counts: rows of each class, shape (classes,).
        power: 0 leaves the shares as they are, 1 makes those of all classes that occur equal, between is between.

    Returns:
        Shares that sum to 1, shape (classes,); 0 for a class without rows.

    Raises:
        ValueError: ``power`` is not from 0 to 1.

    Example:
        >>> class_shares(np.array([900, 100]), power=0.5)
        array([0.75, 0.25])
    """
    if not 0 <= power <= 1:
        raise ValueError(f"power is {power}; allowed is 0 to 1")
    weights = np.where(counts > 0, np.maximum(counts, 1) ** (1.0 - power), 0.0)
    shares: NDArray[np.float64] = weights / max(weights.sum(), 1.0)
    return shares


def class_quotas(counts: NDArray[np.int64], *, power: float) -> NDArray[np.int64]:
    """Return how many rows of each class an epoch has; together as many as there are rows.

    Shares of rows are rounded down, and those with the largest remainders up, of equal ones the lower class.

    Example:
        >>> class_quotas(np.array([6, 2, 2]), power=1.0)
        array([4, 3, 3])
    """
    exact = class_shares(counts, power=power) * counts.sum()
    quotas: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    largest = np.argsort(quotas - exact, kind="stable")
    quotas[largest[: counts.sum() - quotas.sum()]] += 1
    return quotas


def balanced_rows(labels: NDArray[np.int64], *, power: float, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the rows of an epoch, as many as there are: a pure function of labels, power, seed and epoch.

    Within an epoch no row comes twice before all rows of its class have come once, and so on. Over any run of epochs,
    too, how often the rows of one class came differs by one at most: each epoch goes on where the one before stopped in
    an order of the class that the seed decides.

    Args:
        labels: index of each row's class, shape (rows,).
        power: see :func:`class_shares`.
        seed: of the order within each class.
        epoch: from 0.

    Returns:
        Positions of rows, class by class, shape (rows,).

    Example:
        >>> labels = np.array([0, 0, 0, 0, 0, 1])
        >>> rows = balanced_rows(labels, power=1.0, seed=0, epoch=0)
        >>> labels[rows].tolist(), len(set(rows.tolist()))
        ([0, 0, 0, 1, 1, 1], 4)
    """
    counts = np.bincount(labels)
    quotas = class_quotas(counts, power=power)
    parts = [
        _next_rows(np.flatnonzero(labels == index), int(quotas[index]), seed=[seed, int(index), _ORDER], epoch=epoch)
        for index in np.flatnonzero(counts)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _next_rows(rows: NDArray[np.int64], quota: int, *, seed: list[int], epoch: int) -> NDArray[np.int64]:
    order = np.random.default_rng(seed).permutation(rows)
    drawn: NDArray[np.int64] = order[(epoch * quota + np.arange(quota)) % len(order)]
    return drawn


class BalancedBatches(LengthSortedBatches):
    """Batches of like length, drawn from :func:`balanced_rows` of the epoch, as long and as many as without balance.

    With several processes all of them compute the same batches, and each takes its share of every one. The same row may
    stand in a batch more than once, as its copies are equally long.

    Args:
        lengths: tokens of each text, shape (texts,).
        labels: index of each text's class, shape (texts,).
        power: see :func:`class_shares`.
        batch_size: texts a batch, of all processes together; the last of an epoch may be smaller.
        seed: of the draws.
        rank: number of this process, from 0.
        processes: how many there are.

    Example:
        >>> labels = np.array([0, 0, 0, 1])
        >>> batches = BalancedBatches(np.array([9, 9, 9, 9]), labels, power=1.0, batch_size=4, seed=0)
        >>> [sorted(labels[batch].tolist()) for batch in batches]
        [[0, 0, 1, 1]]
    """

    def __init__(  # noqa: PLR0913 - one more than what it extends
        self,
        lengths: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        power: float,
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        super().__init__(lengths, batch_size=batch_size, seed=seed, rank=rank, processes=processes)
        class_shares(np.bincount(labels), power=power)  # an impossible power is refused before training
        self.labels = labels
        self.power = power

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's share of the rows of each batch of the epoch."""
        rows = balanced_rows(self.labels, power=self.power, seed=self.seed, epoch=self.epoch)
        batches = LengthSortedBatches(
            self.lengths[rows], batch_size=self.batch_size, seed=self.seed, rank=self.rank, processes=self.processes
        )
        batches.set_epoch(self.epoch)
        for batch in batches:
            yield rows[batch].tolist()
