"""Where and in which precision this machine computes fast."""

from __future__ import annotations

import torch


def fast_device() -> torch.device:
    """Return where this process runs a model soonest: on its GPU, or on processors where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_in_bf16() -> bool:
    """Return whether this machine multiplies bfloat16 matrices natively, and so faster than float32.

    Where it does not, libraries convert number by number: a hundred times as slow as float32.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
