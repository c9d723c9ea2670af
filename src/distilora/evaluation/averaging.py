"""Several models as one: the mean of their calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def log_mean_probabilities(
    members: Sequence[NDArray[np.floating]], *, temperatures: Sequence[float]
) -> NDArray[np.float32]:
    """Return log (1/M · Σ softmax(logits / T)) over M models, each at its own temperature T.

    These serve as the logits of all together, for their softmax is the mean itself.

    Args:
        members: the logits of each model, shape (rows, classes), the rows the same; at least one model.
        temperatures: T of each model, above 0.

    Returns:
        Natural logarithms, shape (rows, classes); finite however sure the models are.

    Raises:
        ValueError: there are not as many temperatures as models.

    Source:
        Lakshminarayanan, Pritzel & Blundell (2017), §2.4, https://arxiv.org/abs/1612.01474.

    Example:
        >>> sure, unsure = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
        >>> np.exp(log_mean_probabilities([sure, unsure], temperatures=[1.0, 1.0])).round(2)
        array([[0.7, 0.3]], dtype=float32)
    """
    logs = [_log_softmax(one / heat) for one, heat in zip(members, temperatures, strict=True)]
    mean = np.logaddexp.reduce(np.stack(logs), axis=0) - np.log(len(logs))
    return np.asarray(mean, dtype=np.float32)


def _log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
