"""Runs on Ray: each method with each seed a task of its own, waiting for the runs that it needs.

Ray decides what runs where and when; what is made of it is what one process makes. The experiment's folder must be the
same for all machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from distilora.analysis.single_runs import measure_run
from distilora.config import ExperimentSettings, ResourcesSettings
from distilora.errors import ConfigError, DistiloraError, RunError, WorkerError
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.run_progress import RunProgress
from distilora.experiment.runner import make_run
from distilora.runs import RunRecord, held_run, read_run, run_folder
from distilora.scale.session import begin_at, ray_says, ray_session

_LOOK_EVERY_S = 2.0


@dataclass(frozen=True)
class RayRuns:
    """Makes the runs of an experiment on Ray: started for it and stopped after it, or one that runs already."""

    address: str | None = None
    """Of a running Ray; absent: one is started on this machine."""

    def __call__(self, materials: Materials, folder: Path, progress: RunProgress) -> list[RunRecord]:
        """Return the runs of all methods and seeds, by seed.

        A run whose process vanishes goes on from its last checkpoint, in another process. What ``[evidence]`` asks for
        of a run alone is measured there, too: several at a time, and kept for those who measure all runs later.

        Args:
            materials: of the experiment; every process prepares its own from the same settings.
            folder: of the experiment, on all machines.
            progress: is told of each complete run, and looks how far the others are.

        Raises:
            MissingExtraError: Ray is not installed.
            ConfigError: a run wants more than this machine has, and Ray is started here.
            WorkerError: Ray cannot be used, or a process vanished more often than ``resources.retries`` allows.
            DistiloraError: what a run refused, as it would in this process.
        """
        settings, folder = materials.settings, folder.absolute()
        with ray_session(address=self.address, processors=None) as ray:
            if self.address is None:  # a cluster may grow
                _require_room(ray, settings.resources)
            waiting = _submitted(ray, settings, folder)
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK_EVERY_S)
                if not ready:
                    progress.look()
                    continue
                name, seed = waiting.pop(ready[0])
                _require_made(ray, ready[0], where=f"{name} seed {seed}")
                progress.complete(read_run(run_folder(folder, name, seed)))
        return [read_run(run_folder(folder, name, seed)) for seed in settings.seeds for name in settings.method_names]


def _submitted(ray: Any, settings: ExperimentSettings, folder: Path) -> dict[Any, tuple[str, int]]:
    """Return the method and the seed of each task by its reference; each waits for those of the runs that it needs."""
    task = ray.remote(**_options(settings.resources))(make_alone)
    told = settings.model_dump_json(exclude_unset=True)
    tasks: dict[Any, tuple[str, int]] = {}
    for seed in settings.seeds:
        references: dict[str, Any] = {}
        for name in settings.method_names:
            needed = [references[parent] for parent in settings.method(name).needs]
            references[name] = task.remote(told, str(folder), str(Path.cwd()), name, seed, *needed)
            tasks[references[name]] = (name, seed)
    return tasks


def _require_room(ray: Any, resources: ResourcesSettings) -> None:
    """Raise ConfigError if Ray has too little for a single run, for which it would wait without an end."""
    there = ray.cluster_resources()
    most = {"cpus": there.get("CPU", 0), "gpus": there.get("GPU", 0), "memory_mib": there.get("memory", 0) / 2**20}
    for name, has in most.items():
        wanted = getattr(resources, name)
        if wanted is not None and wanted > has:
            raise ConfigError(
                f"resources.{name}: {wanted} for each run, and Ray has {int(has)} here; give less, or a cluster with "
                "--ray-address"
            )


def _options(resources: ResourcesSettings) -> dict[str, Any]:
    memory = {} if resources.memory_mib is None else {"memory": resources.memory_mib * 2**20}
    return {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_retries": resources.retries, **memory}


def make_alone(settings: str, folder: str, home: str, name: str, seed: int, *needed: str | None) -> str | None:
    """Make a run in a process of its own, and measure what can be of it alone; return nothing, or why it was refused.

    Args:
        settings: of the experiment, as JSON.
        folder: of the experiment.
        home: where paths of the settings begin.
        name: of the method.
        seed: of all that is drawn at random.
        needed: what came of the runs that it needs.
    """
    refused = next((reason for reason in needed if reason is not None), None)
    if refused is not None:
        return refused
    begin_at(home)
    try:
        materials = _materials(settings)
        torch.set_num_threads(materials.settings.resources.cpus)
        parents = dict(_parents(name, materials, Path(folder), seed=seed))
        with held_run(Path(folder), name, seed):
            measure_run(make_run(name, materials, Path(folder), seed=seed, parents=parents), materials)
    except DistiloraError as error:  # not every one of them can be pickled
        return str(error)
    return None


@lru_cache(maxsize=1)
def _materials(settings: str) -> Materials:
    """Return the materials of an experiment, prepared once in each process."""
    return prepare(ExperimentSettings.model_validate_json(settings))


def _parents(name: str, materials: Materials, folder: Path, *, seed: int) -> Iterator[tuple[str, RunRecord]]:
    for parent in materials.settings.method(name).needs:
        yield parent, read_run(run_folder(folder, parent, seed))


def _require_made(ray: Any, task: Any, *, where: str) -> None:
    errors = ray.exceptions
    try:
        refused = ray.get(task)
    except (errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError, errors.OutOfMemoryError) as gone:
        raise WorkerError(
            f"{where}: its process vanished more often than resources.retries allows: {ray_says(gone)}; give the "
            "same command again to go on"
        ) from None
    except errors.RayError as failure:
        raise WorkerError(f"{where}: Ray: {ray_says(failure)}") from None
    if refused is not None:
        raise RunError(refused)
