"""What was found in a teacher's layers; what could not be measured is ``None``, never a number."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from distilora.evaluation.kept import read_kept
from distilora.evaluation.records import Interval
from distilora.files import write_whole
from distilora.models.similarity import Pooling, Similarities
from distilora.records import Record

LAYERS_FILE = "layers.json"


class AnalysisSettings(Record):
    """On how many rows, and how, layers are looked at."""

    validation_rows: int = Field(default=1500, ge=100)
    """Rows that are scored and compared, at most; a stratified sample."""
    train_rows: int = Field(default=3000, ge=100)
    """Training rows that probes learn from, at most; a stratified sample."""
    sample_seed: int = Field(default=0, ge=0)
    """Seed of both samples."""
    probe_strength: float = Field(default=0.01, gt=0)
    """C of the probes' logistic regression: the inverse of the strength of its L2 regularisation, the same for all."""


class ProbeScores(Record):
    """A linear probe of one layer on validation rows, each score with its 95 % bootstrap interval."""

    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval


class LeftOut(Record):
    """The teacher, not trained again, without one layer; ``lost`` is the whole teacher's score less this one."""

    accuracy: float
    accuracy_lost: float
    macro_f1: float
    macro_f1_lost: float
    macro_f1_lost_interval: Interval
    """95 %, paired: both models on the same resampled rows."""


class LayerKnowledge(Record):
    """One layer of the teacher."""

    number: int = Field(ge=0)
    """From 1; 0 stands for the embeddings."""
    probes: dict[Pooling, ProbeScores]
    left_out: LeftOut | None
    """Absent for the embeddings, for an only layer, and where something else stands between layers."""


class ModelSimilarity(Record):
    """How alike the layers of another model, trained from this teacher or its encoder, are to the teacher's."""

    method: str
    seed: int
    run_sha256: str
    layers: tuple[int, ...] | None
    """The teacher layers that the model is made of, from 1; absent where it has all."""
    cka: dict[Pooling, Similarities]
    """Rows: layers of this model; columns: layers of the teacher."""


class LayerAnalysis(Record):
    """What is known of the layers of one trained teacher."""

    format: Literal[1] = 1
    method: str
    seed: int
    run_sha256: str
    """Hash of the teacher's run; another one means that this analysis is of another teacher."""
    settings: AnalysisSettings
    validation_rows: int
    """Rows that were scored and compared."""
    train_rows: int
    """Rows that the probes learnt from."""
    pooling: Pooling
    """How the teacher's own classifier reads the last layer."""
    precision: Literal["bf16", "fp32"] = "fp32"
    """In which states and scores were computed: as in training. Rounding moves them far less than the intervals."""
    accuracy: float
    """Of the whole teacher on these validation rows."""
    macro_f1: float
    odd: tuple[int, ...]
    """Layers that the preset ``odd`` takes."""
    even: tuple[int, ...]
    layers: tuple[LayerKnowledge, ...]
    """The embeddings, then every layer."""
    cka: dict[Pooling, Similarities]
    """Between all layers of the teacher; symmetric."""
    compared: tuple[ModelSimilarity, ...] = ()

    @property
    def depth(self) -> int:
        """Return the number of layers, embeddings left out."""
        return self.layers[-1].number


def read_analysis(run_folder: Path) -> LayerAnalysis | None:
    """Return what was found in the layers of a run, or nothing where nobody looked.

    Args:
        run_folder: of a complete run.

    Raises:
        RunError: the file is damaged or of a newer format.
    """
    return read_kept(run_folder / LAYERS_FILE, LayerAnalysis)


def write_analysis(run_folder: Path, analysis: LayerAnalysis) -> None:
    """Write what was found in a run's layers into its folder, whole or not at all."""
    write_whole(run_folder / LAYERS_FILE, analysis.model_dump_json(indent=1) + "\n")
