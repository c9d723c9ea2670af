"""Contenders measured in turn, round after round, so that what else the machine does falls on all alike."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from distilora.bench.contenders import find_contender
from distilora.bench.machine import busy_processors
from distilora.bench.processes import ContenderProbe, MachineProbe
from distilora.bench.records import BenchReport, ContenderFigures, Latency, MachineFigures
from distilora.bench.texts import read_texts
from distilora.bench.turns import (
    Measured,
    in_turn,
    library_versions,
    percentiles_ms,
    round_line,
    spread,
    texts_file,
    warmed_up,
)
from distilora.errors import ConfigError, DataError
from distilora.machine import processor, usable_processors

__all__ = ["read_texts", "run_bench"]
logger = logging.getLogger(__name__)


def run_bench(  # noqa: PLR0913 - the public door: each argument is one option of the command
    paths: Sequence[Path],
    texts: Sequence[str],
    *,
    rounds: int = 5,
    latency_texts: int = 300,
    seed: int = 0,
    threads: int | None = None,
    tell: Callable[[str], None] = logger.info,
) -> BenchReport:
    """Return speed, memory, size and agreement of bundles and trained runs on the same texts.

    Each contender has a process of its own. All classify the texts once, which warms them up and is not measured; then
    come rounds, in each of which every contender classifies all texts together and some of them one at a time, and the
    machine's matrix products are measured. Each round begins with another contender.

    Args:
        paths: bundles, or ``EXPERIMENT/METHOD`` or ``EXPERIMENT/METHOD/seed-N``; all are compared with the first.
        texts: to classify.
        rounds: how many.
        latency_texts: to classify one at a time, over all rounds; drawn from ``texts``.
        seed: of that draw.
        threads: for each contender and the matrix products; absent: one for each processor that this process may use.
        tell: takes one line on what has been measured.

    Raises:
        ConfigError: there is nothing to measure, or a number is below 1.
        DataError: there are no texts.
        BundleError: a bundle cannot be used, or a path is neither a bundle nor a run.
        RunError: a run is not complete or has no model.
        MissingExtraError: a trained run without the libraries for it.
    """
    _require(paths, texts, numbers={"rounds": rounds, "latency_texts": latency_texts, "threads": threads})
    threads = threads or usable_processors()
    folders = [find_contender(path) for path in paths]
    slices = _latency_rows(len(texts), latency_texts=latency_texts, rounds=rounds, seed=seed)
    busy = busy_processors()
    with ExitStack() as stack:
        file = stack.enter_context(texts_file(texts))
        probes = [
            stack.enter_context(ContenderProbe(folder, texts=file, threads=threads, of=str(path)))
            for path, folder in zip(paths, folders, strict=True)
        ]
        measured = [warmed_up(str(path), probe, tell=tell) for path, probe in zip(paths, probes, strict=True)]
        machine = stack.enter_context(MachineProbe(threads=threads))
        rates = [_round(number, measured, rows, machine=machine, tell=tell) for number, rows in enumerate(slices)]
    best = {precision: max(rate[precision] for rate in rates) for precision in rates[0]}
    return BenchReport(
        texts=len(texts),
        characters_per_text=statistics.fmean(map(len, texts)),
        rounds=rounds,
        seed=seed,
        threads=threads,
        contenders=tuple(_figures(one, first=measured[0], peaks=best, texts=len(texts)) for one in measured),
        machine=_machine(best, busy=busy),
        versions=library_versions(),
    )


def _require(paths: Sequence[Path], texts: Sequence[str], *, numbers: dict[str, int | None]) -> None:
    if not paths:
        raise ConfigError("bench: nothing to measure; give one or more bundles or trained runs")
    if not texts:
        raise DataError("bench: there are no texts to measure on; give a file with at least one")
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ConfigError(f"bench: {name} = {value}: give at least 1")


def _latency_rows(texts: int, *, latency_texts: int, rounds: int, seed: int) -> list[list[int]]:
    """Return, for each round, the positions of the texts that are classified one at a time."""
    drawn = np.random.default_rng(seed).choice(texts, size=latency_texts, replace=latency_texts > texts)
    return [rows.tolist() for rows in np.array_split(drawn, rounds)]


def _round(
    number: int,
    measured: Sequence[Measured],
    rows: Sequence[int],
    *,
    machine: MachineProbe,
    tell: Callable[[str], None],
) -> dict[str, float]:
    """Measure every contender once more, and return the machine's rates meanwhile."""
    rates = machine.measure()
    for one in in_turn(measured, number):
        one.round_seconds.append(one.probe.run_all())
        one.latency_seconds[None] += one.probe.run_each(rows)
    tell(round_line(number, measured))
    return rates


def _figures(one: Measured, *, first: Measured, peaks: dict[str, float], texts: int) -> ContenderFigures:
    identity = one.opened.identity
    ratios = [base / own for base, own in zip(first.round_seconds, one.round_seconds, strict=True)]
    operations = None if one.labelled.operations is None else one.labelled.operations / texts
    return ContenderFigures(
        path=one.name,
        name=identity.name,
        bundle_id=identity.bundle_id,
        kind=identity.kind,
        precision=identity.precision,
        texts_per_s=spread(one.texts_per_s),
        round_seconds=tuple(one.round_seconds),
        relative_throughput=spread(ratios),
        latency=_latency(one.latency_seconds[None]),
        load_seconds=one.opened.load_seconds,
        memory_open_mib=one.opened.memory_mib,
        memory_peak_mib=one.memory_peak_mib,
        size_bytes=identity.size_bytes,
        same_labels=_same_labels(one, first),
        gigaoperations_per_text=None if operations is None else operations / 1e9,
        share_of_peak=_share(operations, statistics.median(one.texts_per_s), peaks.get(identity.precision or "")),
    )


def _latency(seconds: Sequence[float]) -> Latency:
    p50, p95, p99 = percentiles_ms(seconds, [50, 95, 99])
    return Latency(texts=len(seconds), p50_ms=p50, p95_ms=p95, p99_ms=p99)


def _same_labels(one: Measured, first: Measured) -> float | None:
    """Return the share of the texts that both give the same label, by name, if they have the same classes."""
    own, other = one.opened.identity.labels, first.opened.identity.labels
    if set(own) != set(other):
        return None
    said, wanted = np.array(own)[one.labelled.labels], np.array(other)[first.labelled.labels]
    return float((said == wanted).mean())


def _share(operations: float | None, texts_per_s: float, peak: float | None) -> float | None:
    return None if operations is None or peak is None else operations * texts_per_s / peak


def _machine(peaks: dict[str, float], *, busy: float | None) -> MachineFigures:
    return MachineFigures(
        processor=processor(),
        cores=usable_processors(),
        busy_processors=busy,
        fp32_gflops=peaks["fp32"] / 1e9,
        int8_gops=peaks["int8"] / 1e9,
        bf16_gflops=peaks["bf16"] / 1e9 if "bf16" in peaks else None,
    )
