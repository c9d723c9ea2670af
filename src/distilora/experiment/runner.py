"""The main job: every method with every seed, each run made once, gone on with where it was broken off."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

from distilora.config import ExperimentSettings
from distilora.experiment.baseline_runs import run_baselines
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.training_runs import resolved, train_run
from distilora.runs import RunRecord, claim_experiment, locked

logger = logging.getLogger(__name__)


def run_experiment(
    settings: ExperimentSettings, folder: Path, *, tell: Callable[[str], None] = logger.info
) -> list[RunRecord]:
    """Return the runs of all methods and seeds, made where they are not there yet.

    Args:
        settings: of the experiment.
        folder: where runs are kept; one that holds another experiment is refused.
        tell: takes one line on what has been decided or done.

    Raises:
        DistiloraError: comments, encoder, settings or folder cannot be used.

    Source:
        Every step that could void the numbers is listed in :mod:`distilora.guards`.
    """
    with locked(folder):
        materials = prepare(settings)
        claim_experiment(folder, materials.identity)
        _tell_of(materials, tell)
        records = run_baselines(materials, folder)
        numbers, total = itertools.count(1), len(settings.seeds) * len(settings.method_names)
        for seed in settings.seeds:
            records += _run_seed(
                seed, materials, folder, tell=lambda outcome: tell(f"{next(numbers)}/{total} {outcome}")
            )
    return records


def _run_seed(seed: int, materials: Materials, folder: Path, *, tell: Callable[[str], None]) -> list[RunRecord]:
    records: list[RunRecord] = []
    teacher: RunRecord | None = None
    for name in materials.settings.method_names:
        method = resolved(materials.settings.method(name), materials)
        record = train_run(method, materials, folder, seed=seed, teacher=teacher)
        if name == "teacher":
            teacher = record
        records.append(record)
        tell(_outcome(record))
    return records


def _tell_of(materials: Materials, tell: Callable[[str], None]) -> None:
    for note in materials.comments.notes:
        tell(note)
    parts = ", ".join(f"{len(labels):,} {part}" for part, labels in materials.labels.items())
    tell(f"{materials.comments.source}: {parts} rows; encoder {materials.encoder.name}")


def _outcome(record: RunRecord) -> str:
    result = record.result
    where = f"{result.method} seed {result.seed}"
    if result.void is not None or result.validation is None:
        return f"{where}: void, {result.void}"
    took = f", {result.training_seconds:.0f} s of training" if result.training_seconds is not None else ""
    return f"{where}: validation macro-F1 {result.validation.macro_f1:.3f}{took}"
