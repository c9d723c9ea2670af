"""A bundle for every method of an experiment, so that there is always one to serve."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from distilora.bundles.manifest import Manifest
from distilora.bundles.storage import is_bundle, read_bundle
from distilora.config import ExportSettings
from distilora.errors import BundleError, DistiloraError, ParityError
from distilora.experiment.materials import Materials
from distilora.export.finding import best_run
from distilora.export.parity import without_advice
from distilora.export.runs import export_run
from distilora.layout import BUNDLE_FOLDER
from distilora.runs import RunRecord, locked, run_sha256

_BYTES_PER_MB = 1_000_000
logger = logging.getLogger(__name__)


def export_methods(
    records: Sequence[RunRecord],
    materials: Materials,
    experiment: Path,
    *,
    tell: Callable[[str], None] = logger.info,
) -> dict[str, Path]:
    """Return where the bundle of each method is, made where it is not there yet or is of an older run.

    It is made of the method's seed that is best on validation. A method whose int8 model says something else than the
    trained one is exported in float32; one that cannot be exported at all is left out; both are told.

    Args:
        records: of the experiment.
        materials: of the experiment; ``materials.settings.export`` says how.
        experiment: its folder; a bundle stands in ``EXPERIMENT/METHOD/bundle``.
        tell: takes one line on what has been done.
    """
    made: dict[str, Path] = {}
    with locked(experiment):
        for name in materials.settings.method_names:
            run = best_run([record for record in records if record.result.method == name])
            if run is None:
                tell(f"{name}: no bundle, for its runs are void")
                continue
            out = experiment / name / BUNDLE_FOLDER
            try:
                if not _is_of(run, materials, out):
                    _export(run, materials, out, tell=tell)
            except DistiloraError as error:
                tell(f"{name}: no bundle: {error}")
                continue
            made[name] = out
    return made


def _is_of(run: RunRecord, materials: Materials, out: Path) -> bool:
    """Return whether ``out`` is a sound bundle of this run, made with these settings."""
    if not is_bundle(out):
        return False
    settings = materials.settings.export
    try:
        manifest = read_bundle(out).manifest
    except BundleError:  # damaged: made again
        return False
    return (
        manifest.origin is not None
        and manifest.origin.run_sha256 == run_sha256(run.folder)
        and (manifest.precision == settings.precision or manifest.int8_refused is not None)
        and manifest.positive == materials.comments.positive
        and (manifest.vocabulary_pruned_from is not None) == settings.prune_vocabulary
        and _has_goal(manifest, settings)
    )


def _has_goal(manifest: Manifest, settings: ExportSettings) -> bool:
    if manifest.threshold is None:
        return True
    goal, _, share = settings.goal.partition("=")
    return manifest.threshold.goal == goal and manifest.threshold.at_least == (float(share) if share else None)


def _export(run: RunRecord, materials: Materials, out: Path, *, tell: Callable[[str], None]) -> None:
    settings = materials.settings.export
    try:
        exported = export_run(run, materials, out, settings=settings, replace=True)
    except ParityError as failure:
        if settings.precision == "fp32":
            raise
        reason = without_advice(failure)
        settings = settings.model_copy(update={"precision": "fp32"})
        exported = export_run(run, materials, out, settings=settings, replace=True, int8_refused=reason)
        tell(f"{run.result.method}: {reason}; exported in fp32 instead")
    size = exported.size_bytes / _BYTES_PER_MB
    tell(f"{run.result.method}: {settings.precision} bundle of seed {run.result.seed}, {size:.1f} MB: {out}")
