"""Samples of rows in which the classes keep their shares, or get equal ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratified_sample(labels: NDArray[np.int64], size: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return positions of ``size`` rows, ascending, the classes in the shares they have, each at least once.

    Args:
        labels: label of each row, shape (rows,).
        size: rows to take; absent: all.
        rng: where the choice comes from.

    Raises:
        ValueError: there are fewer rows than wanted, or more classes.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> np.bincount(np.arange(90)[stratified_sample(np.repeat([0, 1], [60, 30]), 9, rng)] // 60).tolist()
        [6, 3]
    """
    classes, counts = np.unique(labels, return_counts=True)
    wanted = len(labels) if size is None else size
    if wanted > len(labels):
        raise ValueError(f"there are {len(labels):,} rows; take at most that many")
    if wanted < len(classes):
        raise ValueError(f"there are {len(classes)} classes; take at least one row of each")
    return _picked(labels, classes, _apportion(counts, wanted), rng)


def balanced_sample(labels: NDArray[np.int64], size: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return positions of equally many rows of each class, ascending.

    Args:
        labels: label of each row, shape (rows,).
        size: rows to take at most, rounded down to equal shares; absent: as many as the smallest class allows.
        rng: where the choice comes from.

    Raises:
        ValueError: the smallest class has fewer rows than its share, or there are more classes than rows wanted.

    Example:
        >>> balanced_sample(np.array([0, 0, 0, 1, 1]), None, np.random.default_rng(0)).size
        4
    """
    classes, counts = np.unique(labels, return_counts=True)
    smallest = int(counts.min())
    share = smallest if size is None else size // len(classes)
    if share > smallest:
        raise ValueError(
            f"the smallest of {len(classes)} classes has {smallest:,} rows; with data.balance take at most "
            f"{smallest * len(classes):,}"
        )
    if share < 1:
        raise ValueError(f"there are {len(classes)} classes; take at least one row of each")
    return _picked(labels, classes, np.full(len(classes), share), rng)


def _apportion(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return how many rows of each class to take: by largest remainder (Hamilton's method), but at least one."""
    single = np.zeros(len(counts), dtype=bool)  # classes whose share is below one row
    while True:
        rest, total = size - int(single.sum()), int(counts[~single].sum())
        whole, remainder = np.divmod(counts * rest, total)
        below = ~single & (whole == 0)
        if not below.any():
            break
        single |= below
    taken = np.where(single, 1, whole)
    remainder[single] = 0
    taken[np.argsort(-remainder, kind="stable")[: size - int(taken.sum())]] += 1
    return taken


def _picked(
    labels: NDArray[np.int64], classes: NDArray[np.int64], shares: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    keys = rng.random(len(labels))
    taken = []
    for label, share in zip(classes, shares, strict=True):
        rows = np.flatnonzero(labels == label)
        taken.append(rows[np.argsort(keys[rows], kind="stable")][:share])
    return np.sort(np.concatenate(taken))
