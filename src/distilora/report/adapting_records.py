"""What a report knows of how trainings adapted themselves, and of what their monitor saw."""

from __future__ import annotations

from distilora.records import Record
from distilora.training.records import Event


class OverSeeds(Record):
    """One measure of the training of a method."""

    mean: float
    """Mean over valid seeds."""
    sd: float | None = None
    """Standard deviation over seeds (n - 1 below the sum); absent for one seed."""


class TermWeight(Record):
    """What one loss term was multiplied by, where that changed in training."""

    term: str
    first: OverSeeds
    """On average over the first logged stretch of steps."""
    last: OverSeeds


class RankStep(Record):
    """A rank of the adapters that held from a step on."""

    seed: int
    step: int
    epoch: float
    rank: float
    """On average over the adapters."""


class Adapted(Record):
    """What changed in the training of one method by itself; what held still is empty."""

    weights: tuple[TermWeight, ...] = ()
    importance: tuple[OverSeeds, ...] = ()
    """How much each of the model's layers counted in the end, from layer 1 on; the means average 1."""
    ranks: tuple[RankStep, ...] = ()
    """By seed: the first rank, then each change."""
    first_rank: OverSeeds | None = None
    last_rank: OverSeeds | None = None
    layer_macro_f1: tuple[OverSeeds, ...] = ()
    """On validation rows after each of the model's layers, in the epoch that was kept."""

    @property
    def any(self) -> bool:
        """Return whether anything adapted."""
        return bool(self.weights or self.importance or self.ranks or self.layer_macro_f1)


class SeedEvent(Event):
    """One thing that the monitor saw in one run, void ones included."""

    seed: int
