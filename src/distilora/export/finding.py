"""The run that a path means, and the comments and encoder that it was made with."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from distilora.bundles.storage import is_bundle
from distilora.config import ExperimentSettings
from distilora.data.faults import first_line, listed, nearest
from distilora.data.opening import SUFFIXES
from distilora.errors import RunError
from distilora.experiment.ensembles import averaged_logits
from distilora.experiment.materials import Materials, prepare
from distilora.layout import EXPERIMENT_FILE
from distilora.runs import RESULT_FILE, RunRecord, read_logits, read_run, run_folder

_SAME_LOGITS = 1e-4
"""How far two computations of one average may lie apart."""
_SEED = re.compile(r"seed-(\d+)")


def find_run(path: Path) -> RunRecord:
    """Return the run that a path means: of a method its seed that is best on validation, or one seed.

    Args:
        path: ``EXPERIMENT/METHOD`` or ``EXPERIMENT/METHOD/seed-N``.

    Raises:
        RunError: there is no such run, or it is a baseline, void or not complete.
    """
    whole = path.absolute()
    if (whole / RESULT_FILE).is_file():
        return _usable(read_run(whole))
    runs = _runs_of_method(whole)
    if not runs:
        raise RunError(_not_found(path, whole))
    best = best_run(runs)
    return _usable(runs[0] if best is None else best)


def best_run(records: Sequence[RunRecord]) -> RunRecord | None:
    """Return the run with the best validation macro-F1, of several such the smallest seed, or nothing if all are void.

    Args:
        records: the runs of one method.
    """
    sound = [
        (-record.result.validation.macro_f1, record.result.seed, record)
        for record in records
        if record.result.void is None and record.result.validation is not None
    ]
    return min(sound, key=lambda entry: entry[:2])[2] if sound else None


def member_runs(run: RunRecord) -> dict[str, RunRecord]:
    """Return the runs that an ensemble's run was made of, by method: of its own seed, in its own experiment.

    Args:
        run: of an ensemble, not void.

    Raises:
        RunError: one is not there or void, or they are others than it was made of, by what they say of validation rows.
    """
    experiment, seed = run.folder.absolute().parents[1], run.result.seed
    members = {name: _usable(read_run(run_folder(experiment, name, seed))) for name in run.result.members}
    then, now = read_logits(run.folder)["validation"], averaged_logits(list(members.values()))["validation"]
    if then.shape != now.shape or not np.allclose(then, now, atol=_SAME_LOGITS):
        raise RunError(
            f"{run.folder}: was made of other runs of {listed(list(members))} than those that are there; "
            f"delete {run.folder.parent} and run distilora compare again"
        )
    return members


def materials_of(run: RunRecord, *, data: str | None = None, positive: Sequence[str] = ()) -> Materials:
    """Return the comments, split and encoder that a run was made with, proved to be the same by their hashes.

    Args:
        run: in its experiment's folder.
        data: where the comments are now; absent: where they were, relative paths from the current directory.
        positive: classes that are to count as positive; empty: as the run says.

    Raises:
        RunError: the experiment's settings cannot be read, or comments or encoder are others than the run's.
        DataError: the comments cannot be used, or a positive class is none of theirs.
        ModelError: the encoder cannot be used.
    """
    materials = prepare(_settings_of(run, data=data, positive=positive or run.result.data.positive))
    _require_same(run, materials)
    return materials


def _usable(run: RunRecord) -> RunRecord:
    result = run.result
    if result.kind == "baseline":
        raise RunError(f"{run.folder}: {result.method} is a baseline, there to compare with; {_others(run)}")
    if result.void is not None:
        raise RunError(f"{run.folder}: this run is void ({result.void}) and has no model; {_others(run)}")
    if result.encoder is None or result.validation is None or result.test is None:
        raise RunError(f"{run.folder}: not a complete run; delete it and run distilora compare again")
    return run


def _others(run: RunRecord) -> str:
    """Return which methods could be taken instead."""
    experiment = run.folder.parents[1]
    names = [name for name in _methods(experiment) if best_run(_runs_of_method(experiment / name)) is not None]
    names = [name for name in names if name not in ("majority", "tfidf")]
    return f"give one of {listed(names)} in {experiment}" if names else "no other method here has a model either"


def _not_found(path: Path, whole: Path) -> str:
    """Return what a path is instead of a run, and which runs there are near it."""
    if is_bundle(whole):
        return f"{path}: is a bundle already; give the run that it was made of, EXPERIMENT/METHOD"
    if methods := _methods(whole):
        return f"{path}: is an experiment; give one of its methods: {listed([str(path / name) for name in methods])}"
    seed = _SEED.fullmatch(whole.name)
    method = whole.parent if seed else whole
    if any(method.glob(f".{whole.name if seed else 'seed-*'}.partial")):
        return f"{path}: not complete yet; run distilora compare again, it goes on where it stopped"
    if seed and (seeds := sorted(run.parent.name for run in method.glob(f"seed-*/{RESULT_FILE}"))):
        return f"{path}: no such run; complete are {listed(seeds)}"
    if methods := _methods(method.parent):
        return f"{path}: no such method{nearest(method.name, methods)}; those with complete runs are {listed(methods)}"
    return f"{path}: no run there; give EXPERIMENT/METHOD of an experiment that distilora compare made"


def _runs_of_method(folder: Path) -> list[RunRecord]:
    return [read_run(path.parent) for path in sorted(folder.glob(f"seed-*/{RESULT_FILE}"))]


def _methods(experiment: Path) -> list[str]:
    return sorted({path.parents[1].name for path in experiment.glob(f"*/seed-*/{RESULT_FILE}")})


def _settings_of(run: RunRecord, *, data: str | None, positive: Sequence[str]) -> ExperimentSettings:
    path = run.folder.absolute().parents[1] / EXPERIMENT_FILE
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        source = _source(run, data)
        encoder = run.result.encoder.name if run.result.encoder else "minilm"
        changes: dict[str, dict[str, Any]] = {
            "data": {"source": source, "positive": positive},
            "encoder": {"name": encoder},
        }
        for name, own in changes.items():
            kept = {key: value for key, value in tables[name].items() if key != "sha256"}
            tables[name] = {**kept, **own}
        return ExperimentSettings.model_validate(tables)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError, KeyError, AttributeError) as error:
        raise RunError(f"{path}: not the settings of an experiment: {first_line(error)}") from None


def _source(run: RunRecord, data: str | None) -> str:
    source = data or run.result.data.source
    if data is None and Path(source).suffix.lower() in SUFFIXES and not Path(source).exists():
        raise RunError(f"{source}: the comments of {run.folder} are not there; give --data and the file as it is now")
    return source


def _require_same(run: RunRecord, materials: Materials) -> None:
    """Raise one line unless comments and encoder are those of the run."""
    data, encoder = run.result.data.sha256, run.result.encoder.sha256 if run.result.encoder else "none"
    if materials.comments.sha256 != data:
        raise RunError(
            f"{materials.comments.source}: not the comments that {run.folder} was trained on: their SHA-256 is "
            f"{materials.comments.sha256[:12]}, not {data[:12]}; give --data and the file as it was"
        )
    if materials.encoder.sha256 != encoder:
        raise RunError(
            f"encoder {materials.encoder.name}: not the one that {run.folder} started from: the SHA-256 of its weights "
            f"is {materials.encoder.sha256[:12]}, not {encoder[:12]}; put the former encoder back in its place"
        )
