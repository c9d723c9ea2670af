"""A bundle for every method of an experiment, so that there is always one to serve."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from distilora.bundles.manifest import Manifest
from distilora.bundles.storage import StoredBundle, is_bundle, read_bundle
from distilora.config import ExportSettings
from distilora.errors import BundleError, DistiloraError, ParityError, RunError
from distilora.experiment.materials import Materials
from distilora.export.ensembles import export_ensemble
from distilora.export.finding import best_run, member_runs
from distilora.export.parity import without_advice
from distilora.export.runs import Exported, export_run
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
    trained one is exported in float32; one that cannot be exported at all is left out; both are told. An ensemble's
    holds bundles of the runs that it was made of, whatever seeds the bundles of those methods are of.

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
                if not _is_ready(run, materials, out):
                    _export(run, materials, out, tell=tell)
            except DistiloraError as error:
                tell(f"{name}: no bundle: {error}")
                continue
            made[name] = out
    return made


def bundle_of(run: RunRecord, folder: Path) -> StoredBundle | None:
    """Return the bundle in a folder where it is sound and of this run; of an ensemble's, of the runs of its members.

    Args:
        run: a complete run that is not void.
        folder: such as ``EXPERIMENT/METHOD/bundle``, which may be of another seed, or not there.
    """
    if not is_bundle(folder):
        return None
    try:
        stored = read_bundle(folder)
        members = member_runs(run) if run.result.kind == "ensemble" else {}
    except (BundleError, RunError):  # it is damaged, or members have gone
        return None
    if list(stored.members) != list(members):
        return None
    models = [(stored.members[name], member) for name, member in members.items()] or [(stored, run)]
    return stored if all(_is_made_of(model.manifest, one) for model, one in models) else None


def _is_made_of(manifest: Manifest, run: RunRecord) -> bool:
    return manifest.origin is not None and manifest.origin.run_sha256 == run_sha256(run.folder)


def _is_ready(run: RunRecord, materials: Materials, out: Path) -> bool:
    """Return whether ``out`` is a sound bundle of this run, made with these settings."""
    stored = bundle_of(run, out)
    return (
        stored is not None
        and _has_classes(stored.manifest, materials)
        and all(_is_as_asked(model.manifest, materials) for model in (stored.members.values() or [stored]))
    )


def _is_as_asked(manifest: Manifest, materials: Materials) -> bool:
    settings = materials.settings.export
    return (
        (manifest.precision == settings.precision or manifest.int8_refused is not None)
        and (manifest.vocabulary_pruned_from is not None) == settings.prune_vocabulary
        and _has_classes(manifest, materials)
    )


def _has_classes(manifest: Manifest, materials: Materials) -> bool:
    """Return whether the same classes are positive, at a threshold that serves the same goal."""
    return manifest.positive == materials.comments.positive and _has_goal(manifest, materials.settings.export)


def _has_goal(manifest: Manifest, settings: ExportSettings) -> bool:
    if manifest.threshold is None:
        return True
    goal, _, share = settings.goal.partition("=")
    return manifest.threshold.goal == goal and manifest.threshold.at_least == (float(share) if share else None)


def _export(run: RunRecord, materials: Materials, out: Path, *, tell: Callable[[str], None]) -> None:
    of_kind = _exported_ensemble if run.result.kind == "ensemble" else _exported
    exported = of_kind(run, materials, out, tell=tell)
    size, precision = exported.size_bytes / _BYTES_PER_MB, exported.manifest.precision or "ensemble"
    tell(f"{run.result.method}: {precision} bundle of seed {run.result.seed}, {size:.1f} MB: {out}")


def _exported_ensemble(run: RunRecord, materials: Materials, out: Path, *, tell: Callable[[str], None]) -> Exported:
    """Return an ensemble's bundle; members whose methods' own bundles are of its seed are copied from there."""
    with tempfile.TemporaryDirectory(prefix="distilora-export-") as name:
        ready = {}
        for method, member in member_runs(run).items():
            own = run.folder.parents[1] / method / BUNDLE_FOLDER
            ready[method] = own if _is_ready(member, materials, own) else Path(name) / method
            if ready[method] != own:
                _exported(member, materials, ready[method], tell=tell)
        return _exported(run, materials, out, export=partial(export_ensemble, ready=ready), tell=tell)


def _exported(
    run: RunRecord,
    materials: Materials,
    out: Path,
    *,
    export: Callable[..., Exported] = export_run,
    tell: Callable[[str], None],
) -> Exported:
    """Return what was exported as the settings say, in float32 where int8 says something else; that is told."""
    settings = materials.settings.export
    try:
        return export(run, materials, out, settings=settings, replace=True)
    except ParityError as failure:
        if settings.precision == "fp32":
            raise
        reason = without_advice(failure)
        settings = settings.model_copy(update={"precision": "fp32"})
        # Of an ensemble, bundles of its members in int8 are of no use any more.
        anew = export_ensemble if run.result.kind == "ensemble" else export
        exported = anew(run, materials, out, settings=settings, replace=True, int8_refused=reason)
        tell(f"{run.result.method}: {reason}; exported in fp32 instead")
        return exported
