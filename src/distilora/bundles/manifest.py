"""What a bundle says of itself: ``distilora.json``, and the id that stands for all of it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from distilora.data.faults import TERMINAL_COMMANDS
from distilora.records import Record

FORMAT = 1
MANIFEST_FILE = "distilora.json"
ID_FILE = "bundle-id"
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"
MEMBERS_FOLDER = "members"

Precision = Literal["fp32", "int8"]
Goal = Literal["f1", "precision", "recall"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _plain_line(text: str) -> str:
    if TERMINAL_COMMANDS.search(text):
        raise ValueError("control characters, line breaks and turns of direction are not allowed")
    return text


Line = Annotated[str, AfterValidator(_plain_line)]
"""Text that a terminal takes for nothing but text, on one line."""


class FileEntry(Record):
    """One file of a bundle."""

    sha256: Sha256
    size_bytes: int = Field(ge=0)


class Threshold(Record):
    """From which summed probability of the positive classes a text counts as positive, and how it was chosen."""

    value: Share
    goal: Goal
    at_least: Share | None = None
    """The precision or recall that was asked for; absent where the goal is the best F1."""
    precision: Share
    """Of the positive classes together on the validation rows, at this threshold; so are recall and F1."""
    recall: Share
    f1: Share


class Scores(Record):
    """What a model scored on one part of the data."""

    part: Literal["validation", "test"]
    rows: int
    accuracy: Share
    macro_f1: Share
    accuracy_interval: tuple[float, float] | None = None
    """95 % interval, low and high; absent where none was computed. So is the next."""
    macro_f1_interval: tuple[float, float] | None = None


class Parity(Record):
    """How near the bundle's model is to the trained one on the validation rows, before temperature and threshold."""

    rows: int
    largest_logit_difference: float = Field(ge=0)
    """Of an ensemble, of the logarithms of its probabilities."""
    same_labels: Share
    """Share of the rows that both give the same label."""
    macro_f1_trained: Share
    macro_f1_bundle: Share


class Origin(Record):
    """The run that a bundle was made of."""

    method: Line
    kind: Literal["teacher", "student", "lora"]
    seed: int
    layers: tuple[int, ...] | None = None
    """The teacher layers that a student is made of, from 1."""
    encoder: Line
    encoder_sha256: str
    family: Line
    """``model_type`` of the encoder's configuration, such as ``bert``."""
    data_source: Line
    """Name of the data, without its folder."""
    data_sha256: str
    run_sha256: str


class Work(Record):
    """Operations of one text of n tokens: constant + a·n + b·n²; a multiplication and an addition are two."""

    constant: float
    per_token: float
    per_token_squared: float

    def operations(self, tokens: float) -> float:
        """Return the operations of one text of so many tokens, special tokens included."""
        return self.constant + self.per_token * tokens + self.per_token_squared * tokens**2


class Member(Record):
    """One bundle inside an ensemble; it stands in ``members/NAME``."""

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]{0,63}$")
    bundle_id: Sha256


class Manifest(Record):
    """Everything that is told about one bundle."""

    format: Literal[1] = 1
    kind: Literal["model", "ensemble"] = "model"
    name: Line
    """The method's name, such as ``odd``."""
    labels: tuple[Line, ...] = Field(min_length=2, max_length=10_000)
    """Names of the classes in the order of the model's logits."""
    positive: tuple[str, ...] = ()
    """Those of them that count as positive (hateful, toxic); empty where nobody said so."""
    threshold: Threshold | None = None
    """Absent where no class is positive: then the likeliest class is the label."""
    temperature: float | None = Field(None, ge=0.01, le=100)
    """Logits are divided by it before softmax (Guo et al. 2017); absent for an ensemble, whose members have theirs."""
    precision: Precision | None = None
    """Absent for an ensemble. So are the next five."""
    max_length: int | None = Field(None, ge=3, le=8192)
    """Longest input in tokens, special tokens included."""
    pad_id: int | None = Field(None, ge=0, lt=2**31)
    parameters: int | None = None
    vocabulary: int | None = None
    """Tokens that the tokenizer knows."""
    work: Work | None = None
    vocabulary_pruned_from: int | None = None
    """Tokens before pruning; absent where nothing was pruned."""
    origin: Origin | None = None
    scores: tuple[Scores, ...] = ()
    """Of the trained model, as its run measured them: likeliest class, no threshold."""
    bundle_scores: tuple[Scores, ...] = ()
    """Of this bundle, with its temperature and threshold."""
    parity: Parity | None = None
    int8_refused: Line | None = None
    """Why the int8 model that was asked for is not this one: how far it was off; absent where none was refused."""
    members: tuple[Member, ...] = ()
    """An ensemble averages the calibrated probabilities of its members."""
    files: dict[str, FileEntry]
    """Every file of the bundle's own folder but the manifest and its id, by name."""
    versions: dict[str, str] = Field({})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: a name stands twice")
        if not set(self.positive) < set(self.labels):
            raise ValueError("positive: must be some of the labels, not all")
        if (self.threshold is None) != (not self.positive):
            raise ValueError("threshold: needed if and only if some classes are positive")
        of_a_model = (self.temperature, self.precision, self.max_length, self.pad_id, self.work, self.origin)
        if self.kind == "model" and (None in of_a_model or self.members or MODEL_FILE not in self.files):
            raise ValueError(
                "kind = model: needs temperature, precision, max_length, pad_id, work, origin, model.onnx; no members"
            )
        is_like_a_model = any(value is not None for value in of_a_model) or MODEL_FILE in self.files
        if self.kind == "ensemble" and (is_like_a_model or len(self.members) < 2):
            raise ValueError("kind = ensemble: needs two members or more, and no model of its own")
        if len({member.name for member in self.members}) != len(self.members):
            raise ValueError("members: a name stands twice")
        return self


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the one way in which a manifest is written: JSON, keys sorted, one space deep, a line feed at the end."""
    table = manifest.model_dump(mode="json", exclude_none=True)
    return (json.dumps(table, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True) + "\n").encode()


def bundle_id(manifest: Manifest) -> str:
    """Return the SHA-256 of the manifest as it is written; through its hashes it stands for the whole bundle."""
    return hashlib.sha256(manifest_bytes(manifest)).hexdigest()
