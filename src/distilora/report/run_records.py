"""What a report knows of single runs: the scores of each seed, and what the runs were made with."""

from __future__ import annotations

from pydantic import Field

from distilora.models.search_records import LayerSearch
from distilora.records import Record
from distilora.runs import EncoderIdentity


class SeedRow(Record):
    """One valid run of a method; what it has not is absent."""

    seed: int
    macro_f1: float | None
    """On test rows, as are all scores whose name says nothing else."""
    accuracy: float | None
    weighted_f1: float | None
    log_loss: float | None
    """In nats."""
    roc_auc: float | None
    brier_score: float | None
    """As trained, before any temperature, as is the next."""
    expected_calibration_error: float | None
    missed_classes: tuple[str, ...]
    """Of which no test row was recognised; those with too few test rows to tell are not looked at."""
    temperature: float | None
    """Fitted to the validation rows."""
    validation_macro_f1: float | None
    epochs: int | None
    """Epochs that were run."""
    best_epoch: int | None
    """The epoch whose model was kept."""
    training_seconds: float | None
    training_memory_mib: float | None
    """The most memory held in training."""


class SeedSearch(Record):
    """How the layers of one valid run's student were searched."""

    seed: int
    search: LayerSearch


class MadeWith(Record):
    """What the runs of an experiment were made with; where they differ, everything that occurs, in their order."""

    encoders: tuple[EncoderIdentity, ...] = ()
    versions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Of distilora and of each library, by name."""
    machines: tuple[str, ...] = ()
    """In words."""
