"""What the model of each method costs to store and to run, as it is kept in an experiment's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from distilora.evaluation.kept import read_kept
from distilora.files import write_whole
from distilora.records import Record

COSTS_FILE = "costs.json"
LENGTHS = (16, 64, 128)
"""Lengths in tokens at which one text is timed, the special ones included."""


class LatencyAt(Record):
    """How long one text of a certain length takes, tokenising included."""

    tokens: int
    """Of the whole text. A model that takes fewer cuts it: the time is then that of its longest input. Where a
    tokenizer makes no text exactly that long, the texts are those next longer."""
    times: int
    """How often it was timed."""
    p50_ms: float
    p95_ms: float


class MethodCosts(Record):
    """The model of one method, in a process of its own."""

    method: str
    seed: int
    model: Literal["bundle", "run"]
    """A bundle runs in ONNX Runtime, a trained run in PyTorch."""
    precision: str
    """Of the weights: int8 or fp32; mixed for an ensemble whose members differ."""
    sha256: str
    """The bundle's id; of a run the hash of its stored logits."""
    size_bytes: int
    """All files that must be shipped; of LoRA with the encoder."""
    latency: tuple[LatencyAt, ...] = Field(min_length=1)
    """The shortest length first."""
    texts_per_s: float
    """Of all test texts together, tokenising included: median over the rounds."""
    texts_per_s_low: float
    texts_per_s_high: float
    memory_peak_mib: float
    """The most that its process held while it was opened and answered all test texts."""
    load_seconds: float
    """To import its libraries and open it, in a fresh process."""

    @property
    def size_mb(self) -> float:
        """Return the size of all that is shipped, in 10^6 bytes."""
        return self.size_bytes / 1e6

    def latency_at(self, tokens: int) -> LatencyAt | None:
        """Return the times at a length, or nothing where it was not timed."""
        return next((one for one in self.latency if one.tokens == tokens), None)


class ExperimentCosts(Record):
    """All methods, timed in turn in one session: figures of two sessions cannot be compared."""

    format: Literal[1] = 1
    methods: tuple[MethodCosts, ...]
    texts: int
    """Test texts answered in a round."""
    rounds: int
    threads: int
    """That each model was given."""
    processor: str
    cores: int
    busy_processors: float | None
    """How many processors others kept busy just before; absent where the system does not tell."""
    versions: dict[str, str]

    def of(self, method: str) -> MethodCosts | None:
        """Return the costs of a method, or nothing where they were not measured."""
        return next((costs for costs in self.methods if costs.method == method), None)


def read_costs(experiment: Path) -> ExperimentCosts | None:
    """Return what the methods of an experiment cost, or nothing where nobody measured.

    Raises:
        RunError: the file is damaged or of a newer format.
    """
    return read_kept(experiment / COSTS_FILE, ExperimentCosts)


def write_costs(experiment: Path, costs: ExperimentCosts) -> None:
    """Write what the methods of an experiment cost into its folder, whole or not at all."""
    write_whole(experiment / COSTS_FILE, costs.model_dump_json(indent=1) + "\n")
