"""The tables of an experiment that hold for all its methods."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from distilora.config.base import Settings

_GOAL = re.compile(r"f1|(precision|recall)=(0(\.\d+)?|1(\.0+)?)")


def as_list(value: object) -> object:
    """Return a comma-separated string as a list, anything else unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(as_list)]


class DataSettings(Settings):
    """``[data]``: where the comments come from and how they are split."""

    source: str = Field("sample", description="sample, davidson, wiki_toxic, hate_speech, a file, or a hub id")
    text: str | None = Field(None, description="column that holds the text; absent: guessed")
    label: str | None = Field(None, description="column that holds the label; absent: guessed")
    label_names: dict[str, str] = Field({}, description="names for bare labels, such as {0 = 'civil', 1 = 'toxic'}")
    positive: Names = Field((), description="classes that count as hateful; stored with the model")
    faults: Literal["refuse", "skip"] = Field("refuse", description="what to do about rows that cannot be used")
    split_seed: int = Field(1150, ge=0, description="seed of the split; the same for all seeds of an experiment")
    train_samples: int | None = Field(None, ge=2, description="training rows to use; absent: all")
    validation_samples: int | None = Field(None, ge=2, description="validation rows to use; absent: all")
    test_samples: int | None = Field(None, ge=2, description="test rows to use; absent: all")
    balance: bool = Field(False, description="take equal shares of the classes, for training only")
    unlabelled: str | None = Field(
        None, description="a file of further comments without labels, which the teacher labels for its students"
    )
    unlabelled_text: str | None = Field(
        None, description="its column of texts; absent: that of the comments, or guessed"
    )


class EncoderSettings(Settings):
    """``[encoder]``: the pretrained model that everything starts from."""

    name: str = Field("minilm", description="minilm (comes with distilora), a folder, or a hub id")
    max_length: int = Field(128, ge=8, le=8192, description="longest input in tokens; longer texts are cut")
    attention: Literal["auto", "eager", "sdpa"] = Field(
        "auto", description="attention code; auto: eager on a processor (faster on short texts), sdpa on a GPU"
    )


class ExportSettings(Settings):
    """``[export]``: the bundle that is made of a trained run."""

    precision: Literal["int8", "fp32"] = Field(
        "int8", description="of the bundle's weights; int8 is smaller and faster"
    )
    goal: str = Field(
        "f1", description="what the threshold is chosen for on validation: f1, precision=0.9 or recall=0.9 (at least)"
    )
    prune_vocabulary: bool = Field(
        False, description="drop tokens that the training rows never use; smaller, at a price on other texts"
    )

    @field_validator("goal")
    @classmethod
    def _goal_is_known(cls, goal: str) -> str:
        if not _GOAL.fullmatch(goal):
            raise ValueError("write f1, precision=0.9 or recall=0.9, with a share from 0 to 1")
        return goal


class EvidenceSettings(Settings):
    """``[evidence]``: what is measured once the runs are complete."""

    costs: bool = Field(True, description="time, memory and size of each method's model, side by side")
    latency_rounds: int = Field(3, ge=1, le=100, description="rounds in which all models are timed in turn")
    noise_rows: int = Field(
        1000, ge=0, description="test rows that are answered again with typed noise, at most; 0: none"
    )
    layers: bool = Field(True, description="what each layer of the teacher knows")


class SuitesSettings(Settings):
    """``[suites]``: data on hard cases and on groups that every method is tried on; needs ``data.positive``."""

    hatecheck: str | None = Field(None, description="a file with HateCheck's columns, or a hub id")
    identity: str | None = Field(
        None,
        description="comments with the identities they mention: a file, a hub id, or sample-identities, English "
        "sentences that come with distilora, the same of each group",
    )
    identity_text: str | None = Field(None, description="its column of texts; absent: guessed")
    identity_label: str | None = Field(None, description="its column of labels; absent: guessed")
    identity_group: str | None = Field(None, description="its column of groups; absent: guessed")


class ReportSettings(Settings):
    """``[report]``: what a recommended model must keep to, and which comments the report shows."""

    max_size_mb: float | None = Field(None, gt=0, description="largest size of all that is shipped, in 10^6 bytes")
    max_latency_ms: float | None = Field(
        None, gt=0, description="longest time for one text of the longest measured length, 95 of 100 times, in ms"
    )
    min_recall: float | None = Field(
        None, ge=0, le=1, description="least recall of the positive classes together, on validation rows"
    )
    error_rows: int = Field(
        50, ge=0, le=1000, description="test comments shown in each list of doubtful rows; 0: the report has no comment"
    )


class ResourcesSettings(Settings):
    """``[resources]``: what each run gets of the machines where several run at a time, as on Ray."""

    cpus: int = Field(1, ge=1, description="processors of a run, and its threads where training.threads is absent")
    gpus: float = Field(0.0, ge=0, description="GPUs of a run; 0.5: two runs share one")
    memory_mib: int | None = Field(None, ge=1, description="memory that a run may take; absent: not counted")
    retries: int = Field(3, ge=0, le=100, description="times that a run goes on whose process vanished")
