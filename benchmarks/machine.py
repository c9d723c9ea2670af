"""What this machine can do at best, measured."""

from __future__ import annotations

import time

import torch

_SIZE = 2048
_ROUNDS = 20


def peak_flops(dtype: torch.dtype) -> float:
    """Return the best rate of a large square matrix product, in floating-point operations a second."""
    left, right = torch.randn(_SIZE, _SIZE).to(dtype), torch.randn(_SIZE, _SIZE).to(dtype)
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - began)
    return 2 * _SIZE**3 / best
