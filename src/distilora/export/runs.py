"""One trained run as a bundle."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as with_changes
from functools import partial
from importlib.metadata import version
from pathlib import Path, PurePath

import onnx
from pydantic import ValidationError
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from distilora.bundles.manifest import MODEL_FILE, TOKENIZER_FILE, Manifest, Origin, Precision, Scores
from distilora.bundles.reading import first_problem
from distilora.bundles.storage import entries_of, read_bundle
from distilora.config import ExportSettings
from distilora.data.faults import listed
from distilora.errors import BundleError, ConfigError
from distilora.evaluation.records import Evaluation
from distilora.evaluation.thresholds import parse_goal
from distilora.experiment.materials import Materials
from distilora.experiment.opening import start_of
from distilora.export.building import Draft, ValidationRows, build_bundle
from distilora.export.card import CardFacts, model_card
from distilora.export.graphs import export_graph
from distilora.export.loading import trained_model, trained_tokenizer
from distilora.export.quantization import quantized
from distilora.export.smoothing import find_outliers
from distilora.export.transformers_files import transformers_files
from distilora.export.vocabulary import prune_vocabulary
from distilora.export.work import count_work
from distilora.models.inference import compute_logits
from distilora.models.weights import parameter_counts
from distilora.report.cards.front_matter import encoder_hub_id
from distilora.report.making import Making, making_of_run, read_settings
from distilora.report.wording import source_name
from distilora.runs import MODEL_FOLDER, RunRecord, run_sha256

_LIBRARIES = ("distilora", "torch", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy")
_BYTES_PER_MB = 1_000_000
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """A bundle that was made."""

    path: Path
    bundle_id: str
    manifest: Manifest
    size_bytes: int
    """Of all its files."""


@dataclass(frozen=True, eq=False)
class Shipped:
    """The model that goes into a bundle, still in torch."""

    model: PreTrainedModel
    tokenizer_json: str
    pruned_from: int | None = None
    """Tokens before the vocabulary was pruned; absent where it was not."""


def export_run(  # noqa: PLR0913 - what, from what, where, and how
    run: RunRecord,
    materials: Materials,
    out: Path,
    *,
    settings: ExportSettings,
    replace: bool = False,
    int8_refused: str | None = None,
    tell: Callable[[str], None] = logger.info,
) -> Exported:
    """Return the bundle that was made of a run, once it was proved to say what the trained model says.

    Args:
        run: a complete run that is not void, as :func:`distilora.export.finding.find_run` returns it.
        materials: of its experiment, as :func:`distilora.export.finding.materials_of` returns them.
        out: the bundle's folder; whatever goes wrong, no part of a bundle is left there.
        settings: precision, goal of the threshold, whether to prune.
        replace: whether a bundle that is there may be replaced.
        int8_refused: how far an int8 model was off, where this bundle is made instead of it.
        tell: takes one line on what has been decided or done.

    Raises:
        ParityError: the exported model does not say what the trained model says; tells how far off it is.
        ConfigError: no threshold reaches the goal, or every class is positive.
        ModelError: the trained model cannot be used or exported.
        BundleError: ``out`` is taken or cannot be written.
    """
    check_wishes(materials, out, replace=replace, tell=tell)
    model = trained_model(run, materials)
    rows = ValidationRows(
        texts=materials.words("validation"),
        labels=materials.labels["validation"],
        trained_logits=compute_logits(model, materials.texts["validation"]),
    )
    shipped = shipped_model(run, materials, model, settings=settings)
    longest = materials.settings.encoder.max_length
    if settings.precision == "int8":
        peaks = find_outliers(model, materials.texts["train"])
        graph = quantized(export_graph(shipped.model, max_length=longest, peaks=peaks))
    else:
        graph = export_graph(shipped.model)
    draft = draft_bundle(run, materials, shipped, graph, settings=settings)
    draft = with_changes(draft, manifest=draft.manifest.model_copy(update={"int8_refused": int8_refused}))
    bundle_id = build_bundle(draft, rows, out, replace=replace)
    return told_export(out, bundle_id, tell=tell)


def check_wishes(materials: Materials, out: Path, *, replace: bool, tell: Callable[[str], None]) -> None:
    """Refuse what could not be exported in the end, before the long work begins; tell if no class is positive.

    Raises:
        BundleError: ``out`` is taken.
        ConfigError: every class is positive.
    """
    if os.path.lexists(out) and not replace:  # asked again when it is written, but by then minutes may have gone
        raise BundleError(
            f"{out}: is there already; give a folder that is not there yet, or replace a bundle with --overwrite"
        )
    positive, names = materials.comments.positive, materials.label_names
    if not positive:
        tell(f"{out}: no class is positive, so there is no threshold; give --positive and one of {listed(names)}")
    if len(positive) == len(names):
        raise ConfigError(f"every class is positive: {listed(names)}; give --positive with some of them, not all")


def shipped_model(run: RunRecord, materials: Materials, model: PreTrainedModel, *, settings: ExportSettings) -> Shipped:
    """Return the model that goes into the bundle, with its tokenizer: pruned where that was asked for.

    Args:
        run: whose tokenizer.
        materials: whose training texts decide which tokens stay.
        model: as trained.
        settings: whether to prune.
    """
    tokenizer_json = trained_tokenizer(run)
    model.config.distilora_positive = list(materials.comments.positive)  # others may have been chosen since training
    if not settings.prune_vocabulary:
        return Shipped(model, tokenizer_json)
    pruned = prune_vocabulary(
        model, tokenizer_json, materials.words("train"), max_length=materials.settings.encoder.max_length
    )
    return Shipped(pruned.model, pruned.tokenizer_json, pruned_from=pruned.before)


def draft_bundle(
    run: RunRecord, materials: Materials, shipped: Shipped, graph: onnx.ModelProto, *, settings: ExportSettings
) -> Draft:
    """Return the bundle of a run before it is measured.

    Args:
        run: what it is made of.
        materials: of its experiment.
        shipped: the model in torch, with its tokenizer.
        graph: the same model as it is written.
        settings: precision and goal.

    Raises:
        BundleError: a name is one that no bundle may hold.
    """
    contents = {MODEL_FILE: graph.SerializeToString(), TOKENIZER_FILE: shipped.tokenizer_json.encode()}
    if settings.precision == "fp32":
        contents |= transformers_files(
            shipped.model,
            shipped.tokenizer_json,
            run_model=run.folder / MODEL_FOLDER,
            max_length=materials.settings.encoder.max_length,
        )
    facts = CardFacts(
        part_rows=run.result.data.part_rows,
        base_model=base_model(materials),
        making=run_making(run),
    )
    try:
        manifest = _manifest(run, materials, shipped, contents, precision=settings.precision)
    except ValidationError as error:
        problem = first_problem(error)
        raise BundleError(f"{run.folder}: cannot become a bundle: {problem}; mend it and train again") from None
    return Draft(
        manifest=manifest,
        contents=contents,
        card=partial(model_card, facts=facts),
        positive=materials.comments.positive,
        aim=parse_goal(settings.goal),
    )


def run_making(run: RunRecord) -> Making:
    """Return how a run's model was made.

    Raises:
        ModelError: the run that its adapters stand on is absent, void or another.
    """
    start = start_of(run)
    kind = None if start is None else start.result.kind
    return making_of_run(run.result, read_settings(run.folder), start_kind=kind)


def _manifest(
    run: RunRecord, materials: Materials, shipped: Shipped, contents: dict[str, bytes], *, precision: Precision
) -> Manifest:
    tokenizer = Tokenizer.from_str(shipped.tokenizer_json)
    return Manifest(
        name=run.result.method,
        labels=materials.label_names,
        temperature=1.0,
        precision=precision,
        max_length=materials.settings.encoder.max_length,
        pad_id=tokenizer.token_to_id(materials.tokenizer.pad_token),
        parameters=parameter_counts(shipped.model)[0],
        vocabulary=tokenizer.get_vocab_size(),
        work=count_work(shipped.model),
        vocabulary_pruned_from=shipped.pruned_from,
        origin=_origin(run, materials, family=shipped.model.config.model_type),
        scores=run_scores(run),
        files=entries_of(contents),
        versions=library_versions(),
    )


def _origin(run: RunRecord, materials: Materials, *, family: str) -> Origin:
    return Origin(
        method=run.result.method,
        kind=run.result.kind,
        seed=run.result.seed,
        layers=run.result.layers,
        encoder=PurePath(materials.encoder.name).name if _is_folder(materials) else materials.encoder.name,
        encoder_sha256=materials.encoder.sha256,
        family=family,
        data_source=source_name(run.result.data.source),
        data_sha256=run.result.data.sha256,
        run_sha256=run_sha256(run.folder),
    )


def _is_folder(materials: Materials) -> bool:
    return materials.encoder.path == Path(materials.encoder.name)


def base_model(materials: Materials) -> str | None:
    """Return the encoder's id on the Hugging Face hub, or nothing where it is a folder."""
    return None if _is_folder(materials) else encoder_hub_id(materials.encoder.name)


def library_versions() -> dict[str, str]:
    """Return the version of each library that decides what a bundle says."""
    return {name: version(name) for name in _LIBRARIES}


def run_scores(run: RunRecord) -> tuple[Scores, ...]:
    """Return what a run scored on validation and test rows, as a manifest has it."""
    return tuple(
        Scores(
            part=part,
            rows=found.rows,
            accuracy=found.accuracy,
            macro_f1=found.macro_f1,
            accuracy_interval=(found.accuracy_interval.low, found.accuracy_interval.high),
            macro_f1_interval=(found.macro_f1_interval.low, found.macro_f1_interval.high),
        )
        for part, found in _evaluations(run).items()
    )


def _evaluations(run: RunRecord) -> dict[str, Evaluation]:
    both = {"validation": run.result.validation, "test": run.result.test}
    return {part: found for part, found in both.items() if found is not None}


def told_export(out: Path, bundle_id: str, *, tell: Callable[[str], None]) -> Exported:
    """Return the bundle that was written to a folder, and tell what it is in one line."""
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    exported = Exported(path=out, bundle_id=bundle_id, manifest=read_bundle(out).manifest, size_bytes=size)
    tell(_summary(exported))
    return exported


def _summary(exported: Exported) -> str:
    manifest, parity = exported.manifest, exported.manifest.parity
    what = manifest.precision or f"{len(manifest.members)} members"
    told = [f"{what}, {exported.size_bytes / _BYTES_PER_MB:.1f} MB"]
    if parity is not None:
        told.append(
            f"{100 * parity.same_labels:.2f} % of {parity.rows:,} validation rows get the trained model's label"
        )
        told.append(f"macro-F1 {parity.macro_f1_bundle:.4f} against {parity.macro_f1_trained:.4f}")
    if manifest.temperature is not None:
        told.append(f"temperature {manifest.temperature:.2f}")
    if manifest.threshold is not None:
        told.append(f"threshold {manifest.threshold.value:.3f}")
    return f"{exported.path}: {'; '.join(told)}"
