"""What this machine is, and what it can do at best, measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_SIZE = 2048  # that of the shipped int8_matmul.onnx, too
_PRODUCTS = 3
_SECONDS = 0.1


def busy_processors(seconds: float = 0.5) -> float | None:
    """Return how many processors others keep busy, over some seconds, or ``None`` where the system does not tell.

    Args:
        seconds: for which to look; this process sleeps meanwhile.
    """
    before = _busy_seconds()
    time.sleep(seconds)
    after = _busy_seconds()
    return None if before is None or after is None else (after - before) / seconds


def _busy_seconds() -> float | None:
    """Return the seconds that all processors together have worked since the system started."""
    try:
        user, nice, system, _idle, _waiting, *interrupts = Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
    except OSError:
        return None
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


class MatrixRates:
    """The rates of a square matrix product of 2,048 in the precisions that this installation computes in.

    NumPy takes its threads from ``OPENBLAS_NUM_THREADS`` or ``OMP_NUM_THREADS`` when it is imported.

    Args:
        threads: for the other libraries.
    """

    def __init__(self, *, threads: int) -> None:
        self._products: dict[str, Callable[[], Any]] = {"fp32": _fp32_product(), "int8": _int8_product(threads)}
        if find_spec("torch") is not None and _has_bf16():
            self._products["bf16"] = _bf16_product(threads)

    def measure(self) -> dict[str, float]:
        """Return the best rate within a tenth of a second, in operations a second, by precision."""
        return {name: 2 * _SIZE**3 / _best_seconds(product) for name, product in self._products.items()}


def _best_seconds(product: Callable[[], Any]) -> float:
    seconds: list[float] = []
    while len(seconds) < _PRODUCTS or sum(seconds) < _SECONDS:
        began = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _fp32_product() -> Callable[[], Any]:
    left, right = np.random.default_rng(0).standard_normal((2, _SIZE, _SIZE), dtype=np.float32)
    result = np.empty_like(left)
    return lambda: np.matmul(left, right, out=result)


def _int8_product(threads: int) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    graph = resources.files("distilora.bench").joinpath("int8_matmul.onnx").read_bytes()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    left = np.random.default_rng(0).integers(0, 256, (_SIZE, _SIZE), dtype=np.uint8)
    return lambda: session.run(None, {"left": left})


def _has_bf16() -> bool:
    from distilora.models.precision import computes_in_bf16

    return computes_in_bf16()


def _bf16_product(threads: int) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(threads)
    left, right = torch.randn(2, _SIZE, _SIZE, generator=torch.Generator().manual_seed(0)).bfloat16()
    return lambda: left @ right
