"""What a report knows of layers over all seeds."""

from __future__ import annotations

from pydantic import Field

from distilora.records import Record


class LayerMean(Record):
    """One layer, the mean over the teachers of all seeds."""

    number: int = Field(ge=0)
    """From 1; 0 stands for the embeddings."""
    probe_accuracy: float
    """Of the probe that reads the layer as the teacher's classifier reads its last one, as is the next."""
    probe_macro_f1: float
    accuracy_lost: float | None
    """Without the layer; absent where a seed's teacher was not asked without it, as is the next."""
    macro_f1_lost: float | None


class LayerMeans(Record):
    """What the layers know, the mean over the teachers of all seeds."""

    accuracy: float
    """Of whole teachers on the validation rows of the analyses."""
    macro_f1: float
    layers: tuple[LayerMean, ...]
    """Those that every teacher has, the embeddings first."""
