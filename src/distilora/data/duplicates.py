"""Which comments are the same text, case and white space aside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def fold_text(text: str) -> str:
    r"""Return ``text`` with case folded and each run of white space as one space.

    Two comments are duplicates if their folded texts are equal.

    Example:
        >>> fold_text("  Go\tAWAY ")
        'go away'
    """
    return " ".join(text.casefold().split())


def number_groups(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return the group of each text, shape (texts,): duplicates share one, numbered from 0 by first appearance.

    Example:
        >>> number_groups(["Go away", "stay", "go  AWAY"]).tolist()
        [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    return np.fromiter((numbers.setdefault(fold_text(text), len(numbers)) for text in texts), np.int64, len(texts))


def majority_labels(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the most frequent label of each group, the lowest of equally frequent ones, shape (groups,).

    Args:
        groups: group of each row, every number from 0 at least once, shape (rows,).
        labels: label of each row, from 0, shape (rows,).

    Example:
        >>> majority_labels(np.array([0, 0, 0, 1]), np.array([1, 1, 0, 0])).tolist()
        [1, 0]
    """
    if not len(labels):
        return np.empty(0, dtype=np.int64)
    classes = int(labels.max()) + 1
    pairs, counts = np.unique(groups * classes + labels, return_counts=True)
    pair_groups, pair_labels = np.divmod(pairs, classes)
    order = np.lexsort((pair_labels, -counts, pair_groups))
    _, first = np.unique(pair_groups[order], return_index=True)
    result: NDArray[np.int64] = pair_labels[order][first]
    return result
