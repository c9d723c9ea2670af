"""The analysis of a teacher's layers: made once for each trained teacher, kept beside its run, gone on with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distilora import guards
from distilora.analysis.left_out import can_leave_out_layers, logits_without_layers
from distilora.analysis.opening import SampledRows, open_model, require_same_data, sample_rows, shared_training
from distilora.analysis.probes import probe_predictions, probe_scores
from distilora.analysis.records import (
    AnalysisSettings,
    LayerAnalysis,
    LayerKnowledge,
    LeftOut,
    ModelSimilarity,
    ProbeScores,
    read_analysis,
    write_analysis,
)
from distilora.data.tokens import EncodedTexts
from distilora.errors import RunError
from distilora.evaluation.intervals import difference_interval
from distilora.evaluation.kept import measured_anew
from distilora.evaluation.metrics import accuracy, macro_f1
from distilora.experiment.materials import Materials
from distilora.models.layers import layer_numbers
from distilora.models.precision import fast_device
from distilora.models.similarity import POOLINGS, Pooling, cka_matrix
from distilora.models.states import LayerVectors, classifier_pooling, layer_vectors
from distilora.progress import Progress
from distilora.runs import RunRecord, read_logits, run_sha256
from distilora.training.arguments import uses_bf16
from distilora.training.threads import torch_threads

_ANALYSED = ("student", "lora")
logger = logging.getLogger(__name__)


def analyse_experiment(
    records: Sequence[RunRecord],
    materials: Materials,
    *,
    settings: AnalysisSettings | None = None,
    tell: Callable[[str], None] = logger.info,
) -> list[LayerAnalysis]:
    """Return what each sound teacher's layers know, compared with the students and adapters of the same seed.

    Where all of it is known already, no model is opened.

    Args:
        records: the experiment's runs; void ones are left out.
        materials: of the same experiment.
        settings: how many rows; absent: the defaults.
        tell: takes one line on what is done, and for each teacher that is.

    Raises:
        RunError: a run is of other data than the materials.
        ModelError: a model cannot be opened, or its family is none that distilora knows.
    """
    sound = [record for record in records if record.result.void is None]
    beside = {
        teacher.folder: [
            run for run in sound if run.result.kind in _ANALYSED and run.result.seed == teacher.result.seed
        ]
        for teacher in sound
        if teacher.result.method == "teacher"
    }
    teachers = [run for run in sound if run.folder in beside]
    known = {run.folder: _known(run, beside[run.folder], settings or AnalysisSettings()) for run in teachers}
    progress = Progress(total=sum(analysis is None for analysis in known.values()), tell=tell)
    analyses = []
    for teacher in teachers:
        analysis = known[teacher.folder]
        if analysis is None:
            analysis = analyse_layers(teacher, materials, compared=beside[teacher.folder], settings=settings, tell=tell)
            progress.tell_of(f"layers of {_name(teacher)}")
        analyses.append(analysis)
    return analyses


def analyse_layers(
    teacher: RunRecord,
    materials: Materials,
    *,
    compared: Sequence[RunRecord] = (),
    settings: AnalysisSettings | None = None,
    tell: Callable[[str], None] = logger.info,
) -> LayerAnalysis:
    """Return what each layer of a trained teacher knows, read from the run's folder where it was found out before.

    The teacher's part and each compared model are kept in ``layers.json`` as soon as they are known, so a broken-off
    analysis goes on. What belongs to another run, by hash, or to other settings is made anew.

    Memory: 4 · (layers + 1) · (validation rows + training rows) · width bytes for each of the two poolings.

    Args:
        teacher: a complete run of kind ``teacher``.
        materials: of the experiment: comments, encoder, token ids.
        compared: runs of students and adapters whose layers are compared with the teacher's; void ones are left out.
        settings: how many rows; absent: the defaults.
        tell: takes one line on what is done.

    Returns:
        The analysis with exactly the models of ``compared``, in their order.

    Raises:
        RunError: a run is of other data than the materials.
        VoidRunError: the teacher's run is void, or its weights changed meanwhile.
    """
    guards.require_sound_teacher(teacher.result.void)
    wanted = [run for run in compared if run.result.void is None]
    for run in (teacher, *wanted):
        require_same_data(run, materials)
    settings = settings or AnalysisSettings()
    known = _known(teacher, wanted, settings)
    if known is not None:
        return known
    training = shared_training(materials)
    with torch_threads(training.threads), _precision(bf16=uses_bf16(training)):
        kept = _kept(teacher, settings, tell=tell)
        return _made(teacher, materials, kept=kept, wanted=wanted, settings=settings, tell=tell)


def _known(teacher: RunRecord, wanted: Sequence[RunRecord], settings: AnalysisSettings) -> LayerAnalysis | None:
    """Return the analysis with exactly the wanted models, where all of it is known."""
    kept = _kept(teacher, settings)
    if kept is None:
        return None
    known = {(model.method, model.seed, model.run_sha256): model for model in kept.compared}
    if any(_identity(run) not in known for run in wanted):
        return None
    return kept.model_copy(update={"compared": tuple(known[_identity(run)] for run in wanted)})


def _precision(*, bf16: bool) -> AbstractContextManager[object]:
    """Compute in bfloat16 meanwhile, on the device on which models are opened."""
    return torch.autocast(fast_device().type, dtype=torch.bfloat16, enabled=bf16)


def _made(  # noqa: PLR0913
    teacher: RunRecord,
    materials: Materials,
    *,
    kept: LayerAnalysis | None,
    wanted: Sequence[RunRecord],
    settings: AnalysisSettings,
    tell: Callable[[str], None],
) -> LayerAnalysis:
    """Return the analysis, written after each of its parts; ``kept`` is what was known before."""
    validation = sample_rows(materials, "validation", settings)
    model = open_model(teacher, materials)
    title = f"layers of {_name(teacher)}"
    tell(f"{title}: states of {len(validation.labels):,} validation rows in {model.config.num_hidden_layers} layers")
    vectors = layer_vectors(model, validation.texts)
    analysis = kept
    if analysis is None:
        train = sample_rows(materials, "train", settings)
        analysis = _teacher_part(teacher, model, vectors, parts=(train, validation), settings=settings, tell=tell)
        write_analysis(teacher.folder, analysis)
    known = {(found.method, found.seed, found.run_sha256): found for found in analysis.compared}
    for run in wanted:
        if _identity(run) not in known:
            tell(f"{title}: compared with those of {_name(run)}")
            known[_identity(run)] = _similarity(run, open_model(run, materials), vectors, validation.texts)
            analysis = analysis.model_copy(update={"compared": tuple(known.values())})
            write_analysis(teacher.folder, analysis)
    return analysis.model_copy(update={"compared": tuple(known[_identity(run)] for run in wanted)})


def _teacher_part(  # noqa: PLR0913
    teacher: RunRecord,
    model: PreTrainedModel,
    vectors: LayerVectors,
    *,
    parts: tuple[SampledRows, SampledRows],
    settings: AnalysisSettings,
    tell: Callable[[str], None],
) -> LayerAnalysis:
    train, validation = parts
    depth = len(vectors["first"]) - 1
    tell(f"layers of {_name(teacher)}: probes of each layer, learnt from {len(train.labels):,} training rows")
    probes = _probes(layer_vectors(model, train.texts), vectors, parts=parts, strength=settings.probe_strength)
    tell(f"layers of {_name(teacher)}: each of {depth} layers left out in turn")
    whole, left_out = _left_out(teacher, model, validation)
    return LayerAnalysis(
        method=teacher.result.method,
        seed=teacher.result.seed,
        run_sha256=run_sha256(teacher.folder),
        settings=settings,
        validation_rows=len(validation.labels),
        train_rows=len(train.labels),
        pooling=classifier_pooling(model),
        precision="bf16" if torch.is_autocast_enabled(model.device.type) else "fp32",
        accuracy=accuracy(whole, validation.labels),
        macro_f1=macro_f1(whole, validation.labels),
        odd=layer_numbers("odd", depth),
        even=layer_numbers("even", depth) if depth > 1 else (),
        layers=tuple(
            LayerKnowledge(number=number, probes=scores, left_out=left_out.get(number))
            for number, scores in enumerate(probes)
        ),
        cka={pooling: cka_matrix(vectors[pooling]) for pooling in POOLINGS},
    )


def _probes(
    train_vectors: LayerVectors, vectors: LayerVectors, *, parts: tuple[SampledRows, SampledRows], strength: float
) -> list[dict[Pooling, ProbeScores]]:
    """Return the scores of a probe for each pooling of each layer, the embeddings first."""
    train, validation = parts
    return [
        {
            pooling: probe_scores(
                validation.labels,
                probe_predictions(
                    train_vectors[pooling][number], train.labels, vectors[pooling][number], strength=strength
                ),
                classes=validation.classes,
            )
            for pooling in POOLINGS
        }
        for number in range(len(vectors["first"]))
    ]


def _left_out(
    teacher: RunRecord, model: PreTrainedModel, rows: SampledRows
) -> tuple[NDArray[np.floating], dict[int, LeftOut]]:
    """Return what the whole teacher says, and by layer number what it scores without that layer.

    Returns:
        Scores before softmax, shape (rows, classes), computed as those without a layer were; where no layer can be
        left out, those that the run has stored, and nothing else.
    """
    if not can_leave_out_layers(model):
        return read_logits(teacher.folder)["validation"][rows.positions], {}
    scores = logits_without_layers(model, rows.texts)
    whole = scores.pop(0)
    return whole, {number: _loss(whole, logits, rows) for number, logits in scores.items()}


def _loss(whole: NDArray[np.floating], without: NDArray[np.floating], rows: SampledRows) -> LeftOut:
    said = [logits.argmax(axis=1)[None] for logits in (whole, without)]
    return LeftOut(
        accuracy=accuracy(without, rows.labels),
        accuracy_lost=accuracy(whole, rows.labels) - accuracy(without, rows.labels),
        macro_f1=macro_f1(without, rows.labels),
        macro_f1_lost=macro_f1(whole, rows.labels) - macro_f1(without, rows.labels),
        macro_f1_lost_interval=difference_interval(rows.labels, *said, classes=rows.classes),
    )


def _similarity(run: RunRecord, model: PreTrainedModel, vectors: LayerVectors, texts: EncodedTexts) -> ModelSimilarity:
    own = layer_vectors(model, texts)
    return ModelSimilarity(
        method=run.result.method,
        seed=run.result.seed,
        run_sha256=run_sha256(run.folder),
        layers=run.result.layers,
        cka={pooling: cka_matrix(own[pooling], vectors[pooling]) for pooling in POOLINGS},
    )


def _kept(
    teacher: RunRecord, settings: AnalysisSettings, *, tell: Callable[[str], None] = lambda _: None
) -> LayerAnalysis | None:
    """Return what was found before in this very run with these settings; what cannot be read is told."""
    try:
        kept = read_analysis(teacher.folder)
    except RunError as damaged:
        tell(measured_anew(damaged))
        return None
    same = kept is not None and kept.run_sha256 == run_sha256(teacher.folder) and kept.settings == settings
    return kept if same else None


def _identity(run: RunRecord) -> tuple[str, int, str]:
    return run.result.method, run.result.seed, run_sha256(run.folder)


def _name(run: RunRecord) -> str:
    return f"{run.result.method} seed {run.result.seed}"
