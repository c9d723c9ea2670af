"""What a run says of noisy test texts, as it is kept in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from distilora.evaluation.kept import unreadable
from distilora.evaluation.robustness.noise import NOISES
from distilora.files import write_whole
from distilora.records import Record

NOISE_FILE = "noise.safetensors"
_HEADER = "answers"  # the one entry of the metadata: safetensors writes several in an order that changes
_CLEAN, _POSITIONS, _NOISY = "clean", "positions", "noisy."


@dataclass(frozen=True, eq=False)
class NoisyAnswers:
    """Logits of one run on some test texts, as they are and with each kind of noise."""

    run_sha256: str
    """Hash of the run; another one means that these are of another run."""
    seed: int
    """Of the noise."""
    positions: NDArray[np.int64]
    """Which test rows, ascending, shape (rows,)."""
    clean: NDArray[np.float32]
    """Without noise, computed as the others were, shape (rows, classes)."""
    noisy: Mapping[str, NDArray[np.float32]]
    """By kind of noise, in the order of ``NOISES``; each of shape (rows, classes)."""


class _Header(Record):
    format: Literal[1] = 1
    run_sha256: str
    seed: int


def write_answers(run_folder: Path, answers: NoisyAnswers) -> None:
    """Write a run's answers into its folder, whole or not at all; the same answers always make the same bytes."""
    header = _Header(run_sha256=answers.run_sha256, seed=answers.seed)
    tensors = {_POSITIONS: answers.positions, _CLEAN: answers.clean}
    tensors.update({f"{_NOISY}{kind}": logits for kind, logits in answers.noisy.items()})
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_whole(run_folder / NOISE_FILE, save(whole, metadata={_HEADER: header.model_dump_json()}))


def read_answers(run_folder: Path) -> NoisyAnswers | None:
    """Return a run's answers to noisy texts, or nothing where it was not asked.

    Raises:
        RunError: the file is damaged or of a newer format.
    """
    path = run_folder / NOISE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header = _Header.model_validate_json((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        return _answers(header, tensors)
    except (OSError, SafetensorError, ValidationError, KeyError, ValueError) as error:
        raise unreadable(path, error) from None


def _answers(header: _Header, tensors: Mapping[str, NDArray[np.generic]]) -> NoisyAnswers:
    positions, clean = tensors[_POSITIONS], tensors[_CLEAN]
    kinds = [name.removeprefix(_NOISY) for name in tensors if name.startswith(_NOISY)]
    known = list(NOISES)
    noisy = {
        kind: tensors[f"{_NOISY}{kind}"]
        for kind in sorted(kinds, key=lambda kind: (known.index(kind) if kind in known else len(known), kind))
    }
    if positions.dtype != np.int64 or positions.ndim != 1 or clean.ndim != 2 or len(clean) != len(positions):
        raise ValueError(f"{len(positions)} rows, but logits of shape {clean.shape}")
    for kind, logits in {_CLEAN: clean, **noisy}.items():
        if logits.shape != clean.shape or logits.dtype != np.float32:
            raise ValueError(f"logits of {kind} are {logits.dtype} of shape {logits.shape}, clean {clean.shape}")
    return NoisyAnswers(
        run_sha256=header.run_sha256,
        seed=header.seed,
        positions=positions.astype(np.int64),
        clean=clean.astype(np.float32),
        noisy={kind: logits.astype(np.float32) for kind, logits in noisy.items()},
    )
