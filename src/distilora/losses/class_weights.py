"""How much the rows of each class count in the cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def class_weights(labels: Sequence[int] | NDArray[np.int64], *, power: float, classes: int) -> Tensor | None:
    """Return how much a row of each class counts, averaging 1 over the rows; nothing where all count the same.

    Args:
        labels: of the training rows, shape (rows,); every class must occur.
        power: weights are the classes' frequencies to minus this power, from 0 (all the same) to 1 (balanced).
        classes: how many classes there are.

    Returns:
        Shape (classes,).

    Example:
        >>> class_weights([0, 0, 0, 1], power=1.0, classes=2)
        tensor([0.6667, 2.0000])
    """
    if power == 0:
        return None
    shares = np.bincount(labels, minlength=classes) / len(labels)
    weights = shares**-power
    return torch.tensor(weights / (shares * weights).sum(), dtype=torch.float32)
