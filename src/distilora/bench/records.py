"""What a benchmark found, as it is kept in a file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distilora.records import Record

Kind = Literal["bundle", "ensemble", "run"]


class Spread(Record):
    """A figure over the rounds."""

    median: float
    low: float
    """Of the worst round; ``high`` is of the best."""
    high: float


class Latency(Record):
    """How long one text at a time takes, tokenising included."""

    texts: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class ContenderFigures(Record):
    """What was measured of one bundle or trained run."""

    path: str
    """As it was given."""
    name: str
    """The method; of a trained run with its seed."""
    bundle_id: str | None
    """Absent for a trained run."""
    kind: Kind
    precision: str | None
    """Of the weights: int8 or fp32; absent for an ensemble whose members differ."""
    texts_per_s: Spread
    """Of all the texts together, tokenising included."""
    round_seconds: tuple[float, ...]
    """For all the texts, round by round."""
    relative_throughput: Spread
    """Texts a second over those of the first contender in the same round."""
    latency: Latency
    load_seconds: float
    """To import its libraries and open it, in a fresh process."""
    memory_open_mib: float | None
    """Resident memory of a fresh process that has opened it; absent where the system does not tell."""
    memory_peak_mib: float
    """The most that a fresh process held while it opened it and ran all texts once."""
    size_bytes: int
    """Of the files that must be shipped: model, tokenizer and what describes them; of LoRA with the encoder."""
    same_labels: float | None
    """Share of the texts whose likeliest class is the first contender's; absent where their classes differ."""
    gigaoperations_per_text: float | None
    """Operations in matrix products, in 10⁹, mean over the texts; absent where nobody counted them."""
    share_of_peak: float | None
    """Operations a second over the machine's peak in the same precision; absent where either is not known."""


class MachineFigures(Record):
    """The machine, and the rates of a large square matrix product on the threads that were used; the best seen."""

    processor: str
    cores: int
    """That this process may use."""
    busy_processors: float | None
    """How many others kept busy in the half second before; absent where the system does not tell."""
    fp32_gflops: float
    """In 10⁹ operations a second, as are the others; by NumPy."""
    int8_gops: float
    """Of uint8 by constant int8, as in a model, by ONNX Runtime."""
    bf16_gflops: float | None
    """By PyTorch; absent where it is not installed, or the processor does not compute in it."""


class BenchReport(Record):
    """Contenders side by side in one run, on the same texts, in the order in which they were given."""

    format: Literal[1] = 1
    texts: int
    characters_per_text: float
    """Mean."""
    rounds: int
    seed: int
    """Of the draw of the texts for the latency."""
    threads: int
    """That each contender was given."""
    contenders: tuple[ContenderFigures, ...] = Field(min_length=1)
    machine: MachineFigures
    versions: dict[str, str]
