"""An ensemble's run as one bundle: a whole bundle of each member, and one threshold over their mean probabilities."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.bundles.manifest import CARD_FILE, Manifest, Member
from distilora.bundles.predictions import decide
from distilora.bundles.storage import read_bundle, write_bundle
from distilora.config import ExportSettings
from distilora.evaluation.thresholds import parse_goal
from distilora.experiment.materials import Materials
from distilora.export.building import Draft, find_threshold, require_labels, some_texts, validation_scores
from distilora.export.card import CardFacts
from distilora.export.ensemble_card import MemberFacts, ensemble_card
from distilora.export.finding import member_runs
from distilora.export.parity import check_parity
from distilora.export.runs import (
    Exported,
    base_model,
    check_wishes,
    export_run,
    library_versions,
    run_making,
    run_scores,
    told_export,
)
from distilora.runs import RunRecord, read_logits

_NONE_READY: Mapping[str, Path] = MappingProxyType({})
logger = logging.getLogger(__name__)


def export_ensemble(  # noqa: PLR0913 - as export_run, and what is ready
    run: RunRecord,
    materials: Materials,
    out: Path,
    *,
    settings: ExportSettings,
    replace: bool = False,
    int8_refused: str | None = None,
    ready: Mapping[str, Path] = _NONE_READY,
    tell: Callable[[str], None] = logger.info,
) -> Exported:
    """Return the bundle that was made of an ensemble's run, once it was proved to say what the run says.

    Each member becomes a bundle with a temperature of its own, fitted and proved as any other. The threshold is chosen
    on the mean of their probabilities on validation rows.

    Args:
        run: a complete run of an ensemble that is not void.
        materials: of its experiment.
        out: the bundle's folder; whatever goes wrong, no part of a bundle is left there.
        settings: precision, goal of the thresholds, whether to prune.
        replace: whether a bundle that is there may be replaced.
        int8_refused: how far an int8 model was off, where this bundle is made instead of it.
        ready: by method, bundles of the members' runs that are there already; they are copied. The others are made.
        tell: takes one line on what has been decided or done.

    Raises:
        ParityError: a member or the ensemble does not say what was trained; tells how far off it is.
        ConfigError: no threshold reaches the goal, or every class is positive.
        RunError: the runs that it was made of are not there.
        ModelError: a trained model cannot be used or exported.
        BundleError: ``out`` is taken or cannot be written.
    """
    check_wishes(materials, out, replace=replace, tell=tell)
    runs = member_runs(run)
    with tempfile.TemporaryDirectory(prefix="distilora-export-") as name:
        members = {method: ready.get(method, Path(name) / "bundles" / method) for method in runs}
        for method, member in runs.items():
            if method not in ready:
                export_run(member, materials, members[method], settings=settings, int8_refused=int8_refused)
        draft = _draft(run, runs, materials, members, settings=settings, int8_refused=int8_refused)
        bundle_id = _build(draft, run, materials, members, out, trials=Path(name), settings=settings, replace=replace)
    return told_export(out, bundle_id, tell=tell)


def _draft(  # noqa: PLR0913 - what, of what, and how
    run: RunRecord,
    runs: Mapping[str, RunRecord],
    materials: Materials,
    members: Mapping[str, Path],
    *,
    settings: ExportSettings,
    int8_refused: str | None,
) -> Draft:
    """Return the bundle of an ensemble before it is measured."""
    stored = {method: read_bundle(path) for method, path in members.items()}
    told = {method: MemberFacts(stored[method].manifest, run_making(one)) for method, one in runs.items()}
    facts = CardFacts(part_rows=run.result.data.part_rows, base_model=base_model(materials))
    manifest = Manifest(
        kind="ensemble",
        name=run.result.method,
        labels=materials.label_names,
        scores=run_scores(run),
        int8_refused=int8_refused,
        members=tuple(Member(name=method, bundle_id=one.id) for method, one in stored.items()),
        files={},
        versions=library_versions(),
    )
    return Draft(
        manifest=manifest,
        contents={},
        card=partial(ensemble_card, members=told, facts=facts),
        positive=materials.comments.positive,
        aim=parse_goal(settings.goal),
    )


def _build(  # noqa: PLR0913 - what, from what, where, and how
    draft: Draft,
    run: RunRecord,
    materials: Materials,
    members: Mapping[str, Path],
    out: Path,
    *,
    trials: Path,
    settings: ExportSettings,
    replace: bool,
) -> str:
    """Return the id of the bundle that ``out`` now is, once it was opened elsewhere and measured."""
    texts = materials.words("validation")
    trial = _opened(trials / "draft", draft.manifest, members)
    probabilities = trial.predict(texts).probabilities
    manifest = _measured(draft, run, materials, probabilities, settings=settings)
    sample = some_texts(texts)
    expected = _labels_of(manifest, trial.predict(sample).probabilities)
    require_labels(_opened(trials / "final", manifest, members), sample, expected)
    contents = {CARD_FILE: draft.card(manifest).encode()}
    return write_bundle(out, manifest, contents, members=members, replace=replace)


def _opened(folder: Path, manifest: Manifest, members: Mapping[str, Path]) -> Bundle:
    write_bundle(folder, manifest, {}, members=members)
    return open_bundle(folder)


def _measured(
    draft: Draft,
    run: RunRecord,
    materials: Materials,
    probabilities: NDArray[np.float32],
    *,
    settings: ExportSettings,
) -> Manifest:
    """Return the draft's manifest with parity, threshold and scores; probabilities are of the validation rows."""
    labels = materials.labels["validation"]
    parity = check_parity(
        read_logits(run.folder)["validation"],
        np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)),
        labels,
        precision=settings.precision,
        pruned=settings.prune_vocabulary,
        averaged=True,
    )
    found = {
        "positive": draft.positive,
        "threshold": find_threshold(probabilities, labels, draft),
        "parity": parity,
    }
    manifest = Manifest.model_validate({**dict(draft.manifest), **found})
    scores = validation_scores(_labels_of(manifest, probabilities), labels, classes=len(manifest.labels))
    return manifest.model_copy(update={"bundle_scores": (scores,)})


def _labels_of(manifest: Manifest, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    return decide(
        probabilities,
        positive=[manifest.labels.index(name) for name in manifest.positive],
        threshold=None if manifest.threshold is None else manifest.threshold.value,
    )
