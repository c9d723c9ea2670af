"""What an analysis starts from: sampled rows of an experiment, and its trained models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distilora.analysis.records import AnalysisSettings
from distilora.config import TrainingSettings, validated
from distilora.data.records import Part
from distilora.data.samples import stratified_sample
from distilora.data.tokens import EncodedTexts, chosen_texts
from distilora.errors import RunError
from distilora.experiment.materials import Materials
from distilora.experiment.opening import open_plain
from distilora.models.precision import fast_device
from distilora.runs import RunRecord


class SampledRows(NamedTuple):
    """Some rows of one part."""

    positions: NDArray[np.int64]
    """In the part, ascending, shape (rows,)."""
    texts: EncodedTexts
    labels: NDArray[np.int64]
    """Index of the true class, shape (rows,)."""
    classes: int
    """How many classes there are, those without rows included."""


def sample_rows(materials: Materials, part: Part, settings: AnalysisSettings) -> SampledRows:
    """Return a stratified sample of a part, the same for the same settings; all of it where it is not larger."""
    labels = materials.labels[part]
    most = settings.train_rows if part == "train" else settings.validation_rows
    classes = len(materials.label_names)
    size = min(len(labels), max(most, classes))
    positions = stratified_sample(labels, size, np.random.default_rng(settings.sample_seed))
    return SampledRows(positions, chosen_texts(materials.texts[part], positions), labels[positions], classes)


def open_model(run: RunRecord, materials: Materials) -> PreTrainedModel:
    """Return a run's trained classifier, adapters added in, in evaluation mode on the device that computes.

    Raises:
        ModelError: its folder holds no such model, or what its adapters stand on cannot be used.
    """
    model = open_plain(run, attention=materials.settings.encoder.attention, encoder=materials.encoder)
    return model.to(fast_device())


def shared_training(materials: Materials) -> TrainingSettings:
    """Return what ``[training]`` says for every method: its threads and precision hold for what is measured, too."""
    return validated(TrainingSettings, materials.settings.training, where="training")


def require_same_data(run: RunRecord, materials: Materials) -> None:
    """Refuse a run whose comments, split or encoder are others than those of the materials.

    Raises:
        RunError: they are.
    """
    then, now = run.result.data, materials.data_identity
    if (then.sha256, then.split_seed, then.part_rows) != (now.sha256, now.split_seed, now.part_rows):
        raise RunError(
            f"{run.folder}: a run of other comments than {now.source} as split here; analyse it with its own"
        )
    if run.result.encoder is None or run.result.encoder.sha256 != materials.encoder.sha256:
        raise RunError(f"{run.folder}: a run of another encoder than {materials.encoder.name}; analyse it with its own")
