"""What this machine is, and what it can do at best, measured."""

from __future__ import annotations

import os
import platform
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


def resident_mib() -> float | None:
    """Return the memory that this process holds now, in MiB, or ``None`` where the system does not tell."""
    return _status_mib("VmRSS")


def peak_resident_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    # Linux's ru_maxrss is handed down by the process that started this one; VmHWM is this program's own.
    peak = _status_mib("VmHWM")
    if peak is not None:
        return peak
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if platform.system() == "Darwin" else most / 2**10


def _status_mib(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(found[0]) / 1024 if found else None


class MatrixRates:
    """The rates of a square matrix product of 2,048 in the precisions that this installation computes in.

    NumPy takes its threads from ``OPENBLAS_NUM_THREADS`` or ``OMP_NUM_THREADS`` when it is imported.

    Args:
        threads: for the other libraries.
    """

    def __init__(self, *, threads: int) -> None:
        self._products: dict[str, Callable[[], Any]] = {"fp32": _fp32_product(), "int8": _int8_product(threads)}
        if find_spec("torch") is not None:
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


def _bf16_product(threads: int) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(threads)
    left, right = torch.randn(2, _SIZE, _SIZE, generator=torch.Generator().manual_seed(0)).bfloat16()
    return lambda: left @ right
