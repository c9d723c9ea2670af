"""Typed records of an assessment: what ``distilora evaluate`` finds and writes as JSON."""

from __future__ import annotations

from typing import Literal

from distilora.evaluation.records import Evaluation
from distilora.evaluation.suites.records import Change, HateCheckScores, IdentityScores
from distilora.records import Record

Suite = Literal["hatecheck", "identity"]


class AssessedModel(Record):
    """One model, how its probabilities became labels, and what it scored; of the three kinds of scores it has one."""

    path: str
    """As it was given."""
    kind: Literal["bundle", "run"]
    sha256: str
    """The bundle's id; of a run the hash of its stored logits."""
    labels: tuple[str, ...]
    positive: tuple[str, ...]
    """Classes that count as hateful."""
    threshold: float | None
    """On their summed probability; absent where the likeliest class was taken."""
    trained_on_source: bool
    """Whether its training rows come from the very comments that it is assessed on."""
    evaluation: Evaluation | None = None
    hatecheck: HateCheckScores | None = None
    identity: IdentityScores | None = None
    changes: tuple[Change, ...] = ()
    """Against the first model; of the first itself there are none."""


class Assessment(Record):
    """One or several models on the same rows."""

    format: Literal[1] = 1
    suite: Suite | None
    """Absent for plain labelled data."""
    source: str
    sha256: str
    """Hash of the texts and their labels."""
    groups_sha256: str | None = None
    """Hash of which row is of which test or group; absent for plain labelled data."""
    rows: int
    long_texts: Literal["truncate", "windows"]
    """What counted of texts that are longer than a model takes."""
    seed: int
    """Of the resampling."""
    models: tuple[AssessedModel, ...]
    notes: tuple[str, ...]
    """What was decided without being told, and what to beware of."""
    versions: dict[str, str]
