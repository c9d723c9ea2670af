"""The main job: every method with every seed, each run made once, gone on with where it was broken off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from distilora.config import ExperimentSettings
from distilora.experiment.baseline_runs import run_baselines
from distilora.experiment.ensembles import average_run
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.methods import check_methods
from distilora.experiment.run_progress import RunProgress
from distilora.experiment.together import check_together, steps_told
from distilora.experiment.training_runs import resolved, train_run
from distilora.runs import RunRecord, claim_experiment, locked
from distilora.training.processes import by_main, held_by_main, main_first, processes, told_once

logger = logging.getLogger(__name__)
Engine = Callable[[Materials, Path, RunProgress], list[RunRecord]]
"""Makes the runs of all methods and seeds of an experiment, by ``make_run``, and tells how far it is."""


def run_experiment(
    settings: ExperimentSettings, folder: Path, *, tell: Callable[[str], None] = logger.info
) -> list[RunRecord]:
    """Return the runs of all methods and seeds, made where they are not there yet.

    What could void their numbers is listed in :mod:`distilora.guards`.

    Args:
        settings: of the experiment.
        folder: where runs are kept; one that holds another experiment is refused.
        tell: takes one line on what has been decided or done.

    Raises:
        DistiloraError: comments, encoder, settings or folder cannot be used.
    """
    return run_methods(main_first(lambda: prepare(settings)), folder, tell=tell)


def in_turn(materials: Materials, folder: Path, progress: RunProgress) -> list[RunRecord]:
    """Return the runs of all methods and seeds, made one after another in this process."""
    made: list[RunRecord] = []
    for seed in materials.settings.seeds:
        records: dict[str, RunRecord] = {}
        for name in materials.settings.method_names:
            records[name] = make_run(name, materials, folder, seed=seed, parents=records)
            progress.complete(records[name])
        made += records.values()
    return made


def run_methods(
    materials: Materials, folder: Path, *, engine: Engine = in_turn, tell: Callable[[str], None] = logger.info
) -> list[RunRecord]:
    """Return the same as :func:`run_experiment`, of comments and encoder that are prepared already.

    Where several processes were started together they train each model together, and the main one writes and tells.

    Args:
        materials: of the experiment.
        folder: of the experiment.
        engine: makes the runs; :class:`distilora.scale.runs.RayRuns` makes several at a time.
        tell: takes one line on what has been decided or done.
    """
    settings, tell = materials.settings, told_once(tell)
    by_main(lambda: _check(materials))
    with held_by_main(locked(folder)):
        by_main(lambda: claim_experiment(folder, materials.identity))
        _tell_of(materials, tell)
        records = main_first(lambda: run_baselines(materials, folder))
        runs = [(name, seed) for seed in settings.seeds for name in settings.method_names]
        return records + engine(materials, folder, RunProgress(folder, runs, tell=tell))


def make_run(
    name: str, materials: Materials, folder: Path, *, seed: int, parents: Mapping[str, RunRecord]
) -> RunRecord:
    """Return the run of one method with one seed: read where it is complete, else made or gone on with.

    Args:
        name: of the method.
        materials: of the experiment.
        folder: of the experiment.
        seed: of all that is drawn at random.
        parents: by name, the complete runs with this seed of at least the methods that it needs.
    """
    method = resolved(materials.settings.method(name), materials)
    needed = {parent: parents[parent] for parent in method.needs}
    if method.kind == "ensemble":
        return main_first(lambda: average_run(method, materials, folder, seed=seed, members=needed))
    return train_run(method, materials, folder, seed=seed, parents=needed)


def _check(materials: Materials) -> None:
    check_methods(materials)
    check_together(materials.settings, processes=processes().count)


def _tell_of(materials: Materials, tell: Callable[[str], None]) -> None:
    for note in (*materials.comments.notes, *(materials.unlabelled.notes if materials.unlabelled else ())):
        tell(note)
    parts = ", ".join(f"{len(labels):,} {part}" for part, labels in materials.labels.items())
    tell(f"{materials.comments.source}: {parts} rows; encoder {materials.encoder.name}")
    if processes().count > 1:
        tell(steps_told(materials.settings, processes=processes().count))
