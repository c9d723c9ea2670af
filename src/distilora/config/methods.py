"""The tables that each method may have its own of, and the methods that come with distilora.

A method is a preset: a table that says which other preset it is ``like`` and what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from distilora.config.base import Settings, Table
from distilora.config.tables import Names

MethodKind = Literal["teacher", "student", "lora", "joint", "ensemble"]
TEACHER = "teacher"
"""The method that others learn from."""
ENCODER = "encoder"
"""What a method starts from that starts from no other method."""
SEARCH = "search"
"""What ``layers`` says where they are to be searched."""
Balance = Literal["fixed", "moving-average", "uncertainty", "dwa"]
_FIRST_RANK, _LARGEST_RANK = 8, 1024


def _as_text(value: object) -> object:
    """Return a layer number, or a list of them, as the text that stands for it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return ",".join(map(str, value)) if isinstance(value, list) else value


Layers = Annotated[str, BeforeValidator(_as_text)]


def _as_rank(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """Return a rank, or tell in one line of both that it may be: of a union's faults only the first is told."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError(f"give a whole number from 1 to {_LARGEST_RANK}, or grow; came {value!r}") from None


Rank = Annotated[Annotated[int, Field(ge=1, le=_LARGEST_RANK)] | Literal["grow"], WrapValidator(_as_rank)]


class TrainingSettings(Settings):
    """``[training]``: the loop, the same for every method."""

    epochs: int = Field(3, ge=1, le=1000, description="passes over the training rows, at most")
    learning_rate: float | None = Field(
        None, gt=0, lt=1, description="peak learning rate; absent: by method and width of the encoder"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="learning rate of a layer in that of the layer above it; 1: all the same"
    )
    unfreeze: bool = Field(
        False, description="begin with the classifier and the last layer; each epoch the next lower layer joins in"
    )
    batch_size: int = Field(32, ge=1, description="comments a step")
    weight_decay: float = Field(0.01, ge=0, lt=1, description="AdamW's decay of the weight matrices")
    warmup: float = Field(0.06, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients longer than this are shortened to it")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="dropout in the encoder, whatever its own is; drawing it costs about a quarter of a step",
    )
    r_drop: float = Field(
        0.0, ge=0, description="weight of the divergence between two passes with other dropout; doubles the work"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    class_weight_power: float = Field(
        0.25,
        ge=0,
        le=1,
        description="cross-entropy weighs a class by its frequency to minus this power; 0: all the same, 1: balanced",
    )
    focal_gamma: float = Field(
        0.0, ge=0, description="cross-entropy weighs rows down that are easy (focal loss); 0: all the same, 2 is usual"
    )
    balanced_sampling: float = Field(
        0.0,
        ge=0,
        le=1,
        description="rows are drawn by the frequency of their class to minus this power; 0: each once, 1: balanced",
    )
    augment: Names = Field(
        (), description="ways to change copies of training texts: word-dropout, swap, misspelling; none: no copies"
    )
    augment_copies: int = Field(1, ge=1, le=10, description="changed copies of each training text, where there are any")
    patience: int = Field(2, ge=0, description="epochs without a better validation macro-F1 before it stops; 0: never")
    monitor: Literal["warn", "lower-rate", "stop"] = Field(
        "warn", description="what to do about a plateau, divergence, spike or collapse, besides telling of it"
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bfloat16 where the machine computes in it, else float32"
    )
    threads: int | None = Field(None, ge=1, description="processor threads; absent: one a core; recorded")
    logging_steps: int = Field(20, ge=1, description="steps between two entries of the training history")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.r_drop and not self.dropout:
            raise ValueError("r_drop compares two passes that differ by dropout, and dropout is 0: give it a share")
        if self.focal_gamma and self.label_smoothing:
            raise ValueError("focal_gamma and label_smoothing exclude each other: take one of them")
        return self


class DistillationSettings(Settings):
    """``[distillation]``: the weight of each loss term of a student, and the temperature."""

    hard: float = Field(0.2, ge=0, description="weight of the cross-entropy with the labels")
    soft: float = Field(0.8, ge=0, description="weight of T²·KL to the teacher's softened probabilities")
    cosine_logits: float = Field(0.1, ge=0, description="weight of the cosine loss between logits")
    cosine_hidden: float = Field(
        0.0, ge=0, description="weight of the cosine loss between hidden states, layer by layer; runs the teacher live"
    )
    hidden: float = Field(
        0.0, ge=0, description="weight of the squared difference of hidden states (TinyBERT); runs the teacher live"
    )
    attention: float = Field(
        0.0, ge=0, description="weight of the squared difference of attention scores (TinyBERT); runs the teacher live"
    )
    relations: float = Field(
        0.0,
        ge=0,
        description="weight of the divergence of attention and of value relations (MiniLM); runs the teacher live",
    )
    layer_sharpness: float = Field(
        0.0,
        description="how much more a pair of layers counts that is alike: weights are softmax(this · cosine); 0: all "
        "the same, below 0: those that lag behind count more",
    )
    projection: bool = Field(
        False, description="compare hidden states through a learned map, dropped on export; always where widths differ"
    )
    temperature: float = Field(2.0, gt=0, le=100, description="T, no unit; above 1 softens both distributions")
    balance: Balance = Field("fixed", description="how the weights of the terms adapt, starting from those given here")
    unlabelled: bool = Field(True, description="learn from data.unlabelled too, where it is given")

    @model_validator(mode="after")
    def _some_term_counts(self) -> Self:
        if not self.hard + self.soft + self.cosine_logits + self.layer_weight > 0:
            raise ValueError("all loss terms have weight 0: give at least one of them a weight")
        return self

    @property
    def layer_weight(self) -> float:
        """Return the weight of all terms that look inside, for which the teacher must run live."""
        return self.cosine_hidden + self.hidden + self.attention + self.relations

    @property
    def uses_teacher(self) -> bool:
        """Return whether any term looks at the teacher."""
        return self.soft + self.cosine_logits + self.layer_weight > 0


class LoraSettings(Settings):
    """``[lora]``: low-rank adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

    rank: Rank = Field(
        _FIRST_RANK,
        description=f"rank of each adapter, or grow: {_FIRST_RANK}, doubled where validation macro-F1 stands still",
    )
    largest_rank: int = Field(32, ge=_FIRST_RANK, le=_LARGEST_RANK, description="rank that growing ends at")
    alpha: float = Field(16.0, gt=0, description="adapters are scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before each adapter")
    targets: Names = Field(
        ("all-linear",), description="module names that get an adapter, or all-linear for those of the layer stack"
    )
    dora: bool = Field(False, description="train length and direction of each matrix apart (DoRA)")
    rslora: bool = Field(False, description="scale by alpha / √rank (rank-stabilised LoRA)")
    adalora: bool = Field(
        False, description="begin with more directions and keep the most important, rank on average (AdaLoRA)"
    )

    @model_validator(mode="after")
    def _variants_fit_together(self) -> Self:
        if self.adalora and (self.dora or self.rslora or self.rank == "grow"):
            raise ValueError("adalora has ranks, lengths and scales of its own: take it, or dora, rslora and grow")
        return self

    @property
    def adapts(self) -> bool:
        """Return whether ranks change in training."""
        return self.rank == "grow" or self.adalora

    @property
    def first_rank(self) -> int:
        """Return the rank that training begins with, of AdaLoRA the one that it ends with on average."""
        return _FIRST_RANK if self.rank == "grow" else self.rank


class MethodTable(Settings):
    """What a ``[methods.NAME]`` table may hold; its inner tables are checked once merged."""

    like: str | None = None
    layers: Layers | None = None
    start: str | None = None
    learns_from: Literal["labels", "teacher"] | None = None
    training: Table = Field({})
    distillation: Table = Field({})
    lora: Table = Field({})


class MethodSettings(Settings):
    """One method, with everything that holds for it."""

    name: str
    kind: MethodKind
    start: str = Field(
        ENCODER, description="what its weights begin as: encoder, or the method whose trained model it goes on with"
    )
    layers: Layers | None = Field(
        None,
        description="layers that are kept of it: odd, even, first, last, spread, numbers such as 1,4,8, or of a "
        "student search, which tries them out; absent: all",
    )
    learns_from: Literal["labels", "teacher"] = Field(
        "labels", description="labels alone, or the terms of [distillation]"
    )
    members: tuple[str, ...] = Field((), description="of an ensemble: the methods whose probabilities are averaged")
    training: TrainingSettings = TrainingSettings()
    distillation: DistillationSettings = DistillationSettings()
    lora: LoraSettings = LoraSettings()

    @model_validator(mode="after")
    def _parts_fit_the_kind(self) -> Self:
        if self.layers is not None and self.kind == "teacher":
            raise ValueError(
                f"layers: only students and LoRA methods are made of some layers, and {self.name} is neither"
            )
        if self.kind != "lora" and (self.learns_from == "teacher") != (self.kind in ("student", "joint")):
            raise ValueError(
                "learns_from: teachers learn from labels, students and joint methods from their teacher, and "
                f"{self.name} is of kind {self.kind}; leave it out, and for a student of labels alone set all weights "
                "of [distillation] but hard to 0"
            )
        if self.kind != "lora" and self.start != (TEACHER if self.learns_from == "teacher" else ENCODER):
            raise ValueError(f"start: only LoRA methods start from another method, and {self.name} is a {self.kind}")
        if self.layers == SEARCH and self.start != TEACHER:
            raise ValueError(f'layers = "{SEARCH}": only the layers of a teacher can be searched, for students')
        return self

    @model_validator(mode="after")
    def _adapters_fit(self) -> Self:
        one_rank = f"[methods.{self.name}.lora] {'adalora = false' if self.lora.adalora else f'rank = {_FIRST_RANK}'}"
        if self.kind == "lora" and self.start != ENCODER and self.layers is not None:
            raise ValueError(
                f"layers: adapters stand on the whole model that they start from, and {self.name} starts from "
                f"{self.start}; leave layers out, or start from a method that has them"
            )
        if self.kind == "joint" and self.lora.adapts:
            raise ValueError(
                f"lora: adapters that are trained together with a student keep one rank; set {one_rank}, which holds "
                "for this method alone"
            )
        if self.kind == "lora" and self.lora.adapts and self.training.unfreeze:
            raise ValueError(
                "training.unfreeze: adapters whose ranks change in training cannot be frozen for part of it; set "
                f"[methods.{self.name}.training] unfreeze = false, or {one_rank}"
            )
        return self

    @property
    def has_adapters(self) -> bool:
        """Return whether LoRA adapters are trained."""
        return self.kind in ("lora", "joint")

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the methods whose runs with the same seed must be there first."""
        if self.kind == "ensemble":
            return self.members
        learnt = [TEACHER] if self.learns_from == "teacher" else []
        return tuple(dict.fromkeys([*learnt, *([] if self.start == ENCODER else [self.start])]))


_STUDENT: Table = {"kind": "student", "start": TEACHER, "learns_from": "teacher", "training": {"epochs": 5}}


def _odd(**differs: Table) -> Table:
    """Return the odd student with a table of its own for what differs."""
    return {**_STUDENT, "layers": "odd", **differs, "training": {"epochs": 5, **differs.get("training", {})}}


# None is like another: what an experiment changes in one preset changes no other.
PRESETS: Mapping[str, Table] = {
    TEACHER: {"kind": "teacher"},
    **{name: {**_STUDENT, "layers": name} for name in ("odd", "even", "first", "last", "spread")},
    "searched": {**_STUDENT, "layers": "search"},
    "lora": {"kind": "lora"},
    # The setting of the earlier projects, to compare with.
    "lora-qv": {"kind": "lora", "lora": {"targets": ["query", "value"], "alpha": 32.0, "dropout": 0.1}},
    # Ranks that adapt, and peft's variants. A plateau is what lets a rank grow, so it must not end the training.
    "lora-grow": {"kind": "lora", "lora": {"rank": "grow"}, "training": {"epochs": 5, "patience": 0}},
    "adalora": {"kind": "lora", "lora": {"adalora": True}, "training": {"epochs": 5}},
    "dora": {"kind": "lora", "lora": {"dora": True}},
    "rslora": {"kind": "lora", "lora": {"rslora": True}},
    # Hybrids.
    "odd-lora": {"kind": "lora", "start": "odd"},
    "even-lora": {"kind": "lora", "start": "even"},
    "odd-cut-lora": {"kind": "lora", "layers": "odd"},
    "lora-distil": {"kind": "lora", "learns_from": "teacher"},
    "teacher-lora": {"kind": "lora", "start": TEACHER},
    "joint": {
        **_STUDENT,
        "kind": "joint",
        "layers": "odd",
        "distillation": {"balance": "moving-average"},
    },
    # The odd student with one thing changed.
    **{
        f"odd-{balance}": _odd(distillation={"balance": balance})
        for balance in ("moving-average", "uncertainty", "dwa")
    },
    "odd-tinybert": _odd(distillation={"hidden": 1.0, "attention": 0.1, "layer_sharpness": 2.0, "projection": True}),
    "odd-minilm": _odd(distillation={"relations": 0.1, "layer_sharpness": 2.0}),
    "odd-layer-rates": _odd(training={"layer_decay": 0.8}),
    "odd-unfreeze": _odd(training={"unfreeze": True}),
    "odd-focal": _odd(training={"focal_gamma": 2.0}),
    "odd-sampling": _odd(training={"balanced_sampling": 0.5, "class_weight_power": 0.0}),
    "odd-dropout": _odd(training={"dropout": 0.1}),
    "odd-r-drop": _odd(training={"dropout": 0.1, "r_drop": 1.0}),
    "odd-smoothing": _odd(training={"label_smoothing": 0.1}),
    "odd-augmented": _odd(training={"augment": ["word-dropout", "swap", "misspelling"]}),
}
SHARED_TABLES: Mapping[str, type[Settings]] = {
    "training": TrainingSettings,
    "distillation": DistillationSettings,
    "lora": LoraSettings,
}
DEFAULT_METHODS = (TEACHER, "odd", "even", "lora")
RESERVED_NAMES = ("majority", "tfidf")
