"""Runs that train nothing: the calibrated probabilities of other methods' runs, averaged."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilora import guards
from distilora.config import MethodSettings
from distilora.errors import VoidRunError
from distilora.evaluation.averaging import log_mean_probabilities
from distilora.evaluation.metrics import evaluate_logits
from distilora.evaluation.temperature import fit_temperature
from distilora.experiment.materials import Materials
from distilora.experiment.provenance import versions
from distilora.runs import (
    Result,
    RunRecord,
    claim_run,
    complete_run,
    read_logits,
    read_run,
    run_folder,
    run_sha256,
    with_labels,
)

_PARTS = ("validation", "test")
logger = logging.getLogger(__name__)


def average_run(
    method: MethodSettings, materials: Materials, experiment: Path, *, seed: int, members: Mapping[str, RunRecord]
) -> RunRecord:
    """Return the run of an ensemble with one seed: read where it is complete, else made of its members' runs.

    Each member's probabilities are calibrated by the temperature that fits its validation rows; the logarithms of
    their means are the run's logits. There is no model folder and no history: the members have theirs.

    Args:
        method: its settings, of kind ``ensemble``.
        materials: of the experiment.
        experiment: the experiment's folder.
        seed: of the members' runs.
        members: the complete run of each member with this seed, by method.

    Raises:
        RunError: the run is there, made of other runs.
    """
    runs = [members[name] for name in method.members]
    final = run_folder(experiment, method.name, seed)
    partial = claim_run(experiment, method.name, seed, _config(method, runs, seed))
    if partial is None:
        return read_run(final)
    try:
        result, logits = _averaged(method, materials, runs, seed=seed)
    except VoidRunError as void:
        logger.warning("%s seed %d is void: %s", method.name, seed, void)
        result, logits = _result(method, materials, runs, seed=seed, void=str(void)), None
    complete_run(partial, final, result=result, logits=logits)
    return read_run(final)


def averaged_logits(members: Sequence[RunRecord]) -> dict[str, NDArray[np.float32]]:
    """Return the logits of an ensemble on validation and test rows, each of shape (rows, classes).

    Args:
        members: their complete runs, none of them void.

    Raises:
        RunError: the logits of one cannot be read.
    """
    known = [read_logits(run.folder) for run in members]
    heats = [fit_temperature(one["validation"], one["validation_labels"]) for one in known]
    return {part: log_mean_probabilities([one[part] for one in known], temperatures=heats) for part in _PARTS}


def _averaged(
    method: MethodSettings, materials: Materials, members: Sequence[RunRecord], *, seed: int
) -> tuple[Result, dict[str, NDArray[Any]]]:
    for run in members:
        guards.require_sound_member(run.result.method, run.result.void)
    logits, names = averaged_logits(members), materials.label_names
    validation = evaluate_logits(logits["validation"], materials.labels["validation"], label_names=names)
    guards.require_varied_predictions(validation)
    result = _result(
        method,
        materials,
        members,
        seed=seed,
        **_costs([run.result for run in members]),
        guards=(guards.DISJOINT_PARTS, guards.SOUND_MEMBERS, guards.VARIED_PREDICTIONS),
        validation=validation,
        test=evaluate_logits(logits["test"], materials.labels["test"], label_names=names),
    )
    return result, with_labels(logits, materials.labels)


def _costs(members: Sequence[Result]) -> dict[str, Any]:
    """Return what all members together cost to keep and to train; each is shipped whole, and trained by itself."""
    memory = [member.training_memory_mib for member in members]
    return {
        "parameters": _sum([member.parameters for member in members]),
        "trainable_parameters": _sum([member.trainable_parameters for member in members]),
        "size_bytes": _sum([member.size_bytes for member in members]),
        "training_seconds": _sum([member.training_seconds for member in members]),
        # One after another, so that the most counts.
        "training_memory_mib": None if None in memory else max(known for known in memory if known is not None),
    }


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _config(method: MethodSettings, members: Sequence[RunRecord], seed: int) -> dict[str, Any]:
    """Return what decides this run, as its ``config.toml`` holds it."""
    return {
        "seed": seed,
        "method": {"name": method.name, "kind": method.kind, "members": list(method.members)},
        "members_sha256": {run.result.method: run_sha256(run.folder) for run in members},
    }


def _result(
    method: MethodSettings,
    materials: Materials,
    members: Sequence[RunRecord],
    *,
    seed: int,
    void: str | None = None,
    **found: Any,
) -> Result:
    return Result.model_validate(
        {
            **found,
            "method": method.name,
            "kind": method.kind,
            "seed": seed,
            "void": void,
            "members": method.members,
            "data": materials.data_identity,
            "encoder": materials.encoder_identity,
            "versions": versions(),
            # Where the members were trained, for that is what took the time.
            "machine": "; ".join(dict.fromkeys(run.result.machine for run in members)),
        }
    )
