"""What the models of an experiment cost to store and to run, measured side by side in one session."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from distilora.bench.contenders import find_contender
from distilora.bench.machine import busy_processors
from distilora.bench.processes import ContenderProbe
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
from distilora.bundles.storage import is_bundle, read_bundle
from distilora.errors import ConfigError, DataError, DistiloraError, RunError
from distilora.evaluation.costs import (
    COSTS_FILE,
    LENGTHS,
    ExperimentCosts,
    LatencyAt,
    MethodCosts,
    read_costs,
    write_costs,
)
from distilora.evaluation.kept import measured_anew
from distilora.machine import processor, usable_processors
from distilora.progress import time_left
from distilora.runs import run_sha256

logger = logging.getLogger(__name__)
_MOST_TEXTS = 600
"""So that the trained runs of small encoders, in PyTorch, are measured in minutes; bundles take a fraction of that."""
_LATENCY_TEXTS = 40
"""Of each length, in each round."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class CostedModel:
    """The model of one method that is to be measured."""

    seed: int
    folder: Path
    """Of a bundle, or of a trained run."""


@dataclass(frozen=True)
class _Known:
    """A model that was found, and the hash that tells it from others."""

    method: str
    seed: int
    folder: Path
    sha256: str


@dataclass(eq=False)
class _AtWork:
    """A model in its process, and the texts that it is timed on one at a time, by length."""

    known: _Known
    measured: Measured
    single_texts: dict[int, list[str]]


def measure_costs(  # noqa: PLR0913 - one argument for each setting
    models: Mapping[str, CostedModel],
    texts: Sequence[str],
    *,
    experiment: Path,
    rounds: int = 3,
    threads: int | None = None,
    tell: Tell = logger.info,
) -> ExperimentCosts:
    """Return what models cost to store and to run, and keep it in ``costs.json`` in the experiment's folder.

    Each model has a process of its own. There it is opened and answers all texts once, which gives load time and memory
    and warms it up; then come rounds, in each of which every model answers all texts together, and 40 texts of each
    length in :data:`~distilora.evaluation.costs.LENGTHS` one at a time. Each round begins with another model.

    Nothing is measured where the file holds these very models, measured with as many rounds, texts and threads on the
    same processor. If one of them differs, all are measured anew: figures of two sessions cannot be compared. A model
    that cannot be measured is told and left out; a file that is damaged is told, and made anew.

    Args:
        models: by method.
        texts: the test texts; of more than 600 so many are taken, evenly over all.
        experiment: the folder to keep the figures in.
        rounds: how many.
        threads: for each model; absent: one for each processor that this process may use.
        tell: takes one line on what has been measured.

    Raises:
        ConfigError: there is no model, or a number is below 1.
        DataError: there are no texts.
        DistiloraError: none of the models can be measured.
    """
    _require(models, texts, numbers={"rounds": rounds, "threads": threads})
    taken = _evenly(texts, most=_MOST_TEXTS)
    threads = threads or usable_processors()
    known = _known(models, tell=tell)
    there = _there(experiment, tell=tell)
    if there and _is_of(there, known, rounds=rounds, texts=len(taken), threads=threads):
        tell(f"costs: {COSTS_FILE} holds these models already")
        return there
    busy = busy_processors()
    methods = _measured(known, taken, rounds=rounds, threads=threads, tell=tell)
    if not methods:
        (experiment / COSTS_FILE).unlink(missing_ok=True)  # it is of other models
        raise DistiloraError("costs: none of the models could be measured")
    costs = ExperimentCosts(
        methods=methods,
        texts=len(taken),
        rounds=rounds,
        threads=threads,
        processor=processor(),
        cores=usable_processors(),
        busy_processors=busy,
        versions=library_versions(),
    )
    write_costs(experiment, costs)
    return costs


def _there(experiment: Path, *, tell: Tell) -> ExperimentCosts | None:
    """Return what was measured before; nothing where that cannot be read, which is told."""
    try:
        return read_costs(experiment)
    except RunError as damaged:
        tell(measured_anew(damaged))
        return None


def _require(models: Mapping[str, CostedModel], texts: Sequence[str], *, numbers: dict[str, int | None]) -> None:
    if not models:
        raise ConfigError("costs: there is no model to measure; give one or more bundles or trained runs")
    if not any(text.strip() for text in texts):
        raise DataError("costs: there are no texts to measure on; give at least one with a word")
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ConfigError(f"costs: {name} = {value}: give at least 1")


def _evenly(texts: Sequence[str], *, most: int) -> list[str]:
    """Return so many of the texts, evenly over all, for some files are sorted by class."""
    amount = min(most, len(texts))
    return [texts[number * len(texts) // amount] for number in range(amount)]


def _known(models: Mapping[str, CostedModel], *, tell: Tell) -> list[_Known]:
    """Return the models that are there, with their hashes."""
    known = []
    for method, model in models.items():
        with _left_out(method, tell=tell):
            folder = find_contender(model.folder)
            sha256 = read_bundle(folder).id if is_bundle(folder) else run_sha256(folder)
            known.append(_Known(method, model.seed, folder, sha256))
    return known


@contextmanager
def _left_out(method: str, *, tell: Tell) -> Iterator[None]:
    """Tell why a model cannot be measured, and go on without it."""
    try:
        yield
    except DistiloraError as error:
        tell(f"costs: {method} is left out: {error}")


def _is_of(costs: ExperimentCosts, known: Sequence[_Known], *, rounds: int, texts: int, threads: int) -> bool:
    """Return whether the figures are of these models, taken in the same way on the same machine."""
    there = {(one.method, one.seed, one.sha256) for one in costs.methods}
    same = (costs.rounds, costs.texts, costs.threads, costs.processor) == (rounds, texts, threads, processor())
    return same and there == {(one.method, one.seed, one.sha256) for one in known}


def _measured(
    known: Sequence[_Known], texts: Sequence[str], *, rounds: int, threads: int, tell: Tell
) -> tuple[MethodCosts, ...]:
    """Return the figures of all models that come through every round."""
    tell(f"costs: {len(known)} models, {len(texts):,} texts, {rounds} rounds")
    with ExitStack() as stack:
        file = stack.enter_context(texts_file(texts))
        probes = [
            stack.enter_context(ContenderProbe(one.folder, texts=file, threads=threads, of=one.method)) for one in known
        ]
        at_work: list[_AtWork] = []
        for one, probe in zip(known, probes, strict=True):
            with _left_out(one.method, tell=tell):
                at_work.append(_opened(one, probe, tell=tell))
        began = time.monotonic()
        for number in range(rounds):
            at_work = _after_round(number, at_work, tell=tell)
            if at_work:
                left = (rounds - number - 1) * (time.monotonic() - began) / (number + 1)
                tell(f"costs: {round_line(number, [one.measured for one in at_work])}{time_left(left)}")
        return tuple(_figures(one) for one in at_work)


def _opened(known: _Known, probe: ContenderProbe, *, tell: Tell) -> _AtWork:
    measured = warmed_up(known.method, probe, tell=lambda line: tell(f"costs: {line}"))
    return _AtWork(known, measured, {tokens: probe.make_texts(tokens, amount=_LATENCY_TEXTS) for tokens in LENGTHS})


def _after_round(number: int, at_work: Sequence[_AtWork], *, tell: Tell) -> list[_AtWork]:
    """Measure every model once more, and return those that came through, in the same order."""
    through = set()
    for one in in_turn(at_work, number) if at_work else []:
        with _left_out(one.known.method, tell=tell):
            one.measured.round_seconds.append(one.measured.probe.run_all())
            for tokens, texts in one.single_texts.items():
                one.measured.latency_seconds[tokens] += one.measured.probe.run_texts(texts)
            through.add(one.known.method)
    return [one for one in at_work if one.known.method in through]


def _figures(one: _AtWork) -> MethodCosts:
    measured, identity = one.measured, one.measured.opened.identity
    speed = spread(measured.texts_per_s)
    return MethodCosts(
        method=one.known.method,
        seed=one.known.seed,
        model="run" if identity.kind == "run" else "bundle",
        precision=identity.precision or "mixed",
        sha256=one.known.sha256,
        size_bytes=identity.size_bytes,
        latency=tuple(_latency(measured.latency_seconds[tokens], tokens=tokens) for tokens in LENGTHS),
        texts_per_s=speed.median,
        texts_per_s_low=speed.low,
        texts_per_s_high=speed.high,
        memory_peak_mib=measured.memory_peak_mib,
        load_seconds=measured.opened.load_seconds,
    )


def _latency(seconds: Sequence[float], *, tokens: int) -> LatencyAt:
    p50, p95 = percentiles_ms(seconds, [50, 95])
    return LatencyAt(tokens=tokens, times=len(seconds), p50_ms=p50, p95_ms=p95)
