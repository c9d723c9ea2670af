"""What a search for the layers of a student found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distilora.models.similarity import Similarities
from distilora.records import Record


class LayerSet(Record):
    """Some layers of a teacher, and what the teacher says with these alone, not trained again."""

    numbers: tuple[int, ...]
    """From 1, ascending."""
    score: float
    """exp(−divergence · (1 + redundancy)), above 0; 1 where the whole teacher says the same."""
    divergence: float
    """KL(whole teacher ‖ teacher with these layers), the mean over rows in nats."""
    redundancy: float
    """How alike two of the layers are on average, from 0 to 1: linear CKA; 0 for a single layer."""
    macro_f1: float
    accuracy: float


class LayerLoss(Record):
    """What the teacher, not trained again, loses without one layer; below 0 it gains."""

    number: int
    """From 1."""
    macro_f1_lost: float
    accuracy_lost: float


class LayerSearch(Record):
    """Which layers of a teacher were searched for a student, and all that was asked about them."""

    format: Literal[1] = 1
    chosen: LayerSet
    """The best of all sets of its size that were looked at."""
    odd: LayerSet
    """The layers that the preset ``odd`` takes, looked at whatever the search came by."""
    even: LayerSet | None
    """Absent where the teacher has one layer."""
    best: tuple[LayerSet, ...]
    """The best sets with as many layers as were asked for, at most 20, the best first."""
    looked_at: int = Field(ge=1)
    """Sets of any size that the teacher was run with."""
    left_out: tuple[LayerLoss, ...]
    """Every layer, each left out alone; empty where the teacher has one."""
    cka: Similarities
    """Of the teacher's layers with each other, their states averaged over each text's tokens; 0 is the embeddings."""
    rows: int
    """Validation rows that all of this was measured on."""
    beam: int
    """Sets that were kept at each step."""
    seed: int
    """Of the sample of rows."""
    seconds: float
    """That the search took."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the layers that were chosen, from 1."""
        return self.chosen.numbers

    @property
    def depth(self) -> int:
        """Return the number of layers of the teacher."""
        return len(self.cka) - 1
