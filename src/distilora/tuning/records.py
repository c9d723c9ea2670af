"""What a search found, as ``tuning.json`` holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from distilora.config import MethodKind
from distilora.records import Record
from distilora.runs import DataIdentity, EncoderIdentity

TrialState = Literal["complete", "pruned", "void", "interrupted"]


class TrialOutcome(Record):
    """One trial: a training at one point."""

    number: int
    """From 1, in the order of their beginnings."""
    state: TrialState
    """To its end; stopped early for being worse than the median; refused by a guard; or killed, and made anew."""
    point: dict[str, int | float]
    """The settings that were searched, by their names in the table of :mod:`distilora.tuning.space`."""
    validation_macro_f1: float | None
    """Of its best epoch; absent unless it came to its end."""
    epochs: tuple[float, ...]
    """Validation macro-F1 after each epoch that was trained."""
    seconds: float | None
    """From begin to end, evaluations included."""
    void: str | None = None
    """What the guard saw."""


def best_of(trials: Sequence[TrialOutcome]) -> TrialOutcome | None:
    """Return the trial with the best validation macro-F1, of equals the first; nothing where none came to its end."""
    complete = [trial for trial in trials if trial.validation_macro_f1 is not None]
    return max(complete, key=lambda trial: trial.validation_macro_f1 or 0.0, default=None)


class MethodSearch(Record):
    """All trials of one method."""

    method: str
    kind: MethodKind
    tuned: str
    """What the method is called with its best settings."""
    settings: dict[str, dict[str, Any]] | None
    """The best settings by table, as ``[methods.NAME]`` holds them; absent where no trial came to its end."""
    trials: tuple[TrialOutcome, ...]

    @property
    def best(self) -> TrialOutcome | None:
        """Return the best trial; nothing where none came to its end."""
        return best_of(self.trials)

    @property
    def own(self) -> TrialOutcome | None:
        """Return the trial with the method's own settings, where it came to its end."""
        first = next((trial for trial in self.trials if trial.state != "interrupted"), None)
        return first if first is not None and first.validation_macro_f1 is not None else None

    def count(self, state: TrialState) -> int:
        """Return how many trials ended so."""
        return sum(trial.state == state for trial in self.trials)


class Tuning(Record):
    """The searches of several methods on the same data, each with the same number of trials."""

    format: Literal[1] = 1
    seed: int
    trials: int
    """Of each method; interrupted ones do not count."""
    data: DataIdentity
    encoder: EncoderIdentity
    searches: tuple[MethodSearch, ...]
    versions: dict[str, str]
    machine: str
