"""An exact test of paired differences that holds for few rows too, where resampled rows show too much."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def sign_flip_p(steps: NDArray[np.int64]) -> float:
    """Return the two-sided p of a sum of paired differences: how often it lies as far from 0 if each sign is chance.

    If two methods do a row equally well, which of them is ahead on it is the toss of a coin. The chance of every sum
    is computed, none is drawn; where all differences are -1, 0 or 1 this is the exact form of McNemar's test. A
    bootstrap of rows would call 4 rows won of 4 shown, though a coin falls so in one case of 8.

    Args:
        steps: of each row, how far one method is ahead of the other, in whole numbers; shape (rows,).

    Returns:
        Above 0; 1 where no row differs.

    Source:
        Fisher (1935), The Design of Experiments, §21.

    Example:
        >>> sign_flip_p(np.array([1, 1, 1, 1, 0])), sign_flip_p(np.array([2, -1]))  # 2 / 2^4; every sum is 1 or 3
        (0.125, 1.0)
    """
    sizes, counts = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    chances = np.ones(1)  # of the sums from -reach to reach
    for size, rows in zip(sizes.tolist(), counts.tolist(), strict=True):
        of_these = np.zeros(2 * size * rows + 1)
        of_these[:: 2 * size] = _coin_chances(rows)
        chances = np.convolve(chances, of_these)
    sums = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return min(1.0, float(chances[sums >= abs(int(steps.sum()))].sum()))


def _coin_chances(tosses: int) -> NDArray[np.float64]:
    """Return the chance of each number of heads, shape (tosses + 1,)."""
    logs = [math.lgamma(tosses + 1) - math.lgamma(k + 1) - math.lgamma(tosses - k + 1) for k in range(tosses + 1)]
    return np.exp(np.array(logs) - tosses * math.log(2))
