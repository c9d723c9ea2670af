"""Which software and which machine made a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from distilora.config import TrainingSettings
from distilora.machine import processor
from distilora.training.arguments import uses_bf16
from distilora.training.processes import processes

_LIBRARIES = ("distilora", "torch", "transformers", "peft", "accelerate", "tokenizers", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the version of Python, of distilora and of each library that decides numbers."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # running from a source tree that is not installed
            continue
    return found


def machine(settings: TrainingSettings | None = None) -> str:
    """Return processor, threads, processes, device and precision in words; what concerns a training where there is one.

    Args:
        settings: of the training.
    """
    threads = torch.get_num_threads()
    words = [processor(), f"{threads} thread{'' if threads == 1 else 's'}"]
    if settings is not None:
        count = processes().count
        words += [f"{count} processes"] if count > 1 else []
        words.append(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")
        words.append("training in bfloat16" if uses_bf16(settings) else "training in float32")
    return ", ".join(words)
