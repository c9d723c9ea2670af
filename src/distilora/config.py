"""The settings of an experiment: one frozen record for each table of its TOML.

Each setting stands here once, with type, default, unit and range; its description is also its help.
A method is a preset: a table that says which other preset it is ``like`` and what differs. What holds for
a method is, in rising order: the records' defaults, the built-in presets, the experiment's own ``[training]``,
``[distillation]`` and ``[lora]``, and the method's own ``[methods.NAME]`` table.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from distilora.errors import ConfigError
from distilora.layout import METHOD_NAME

_GOAL = re.compile(r"f1|(precision|recall)=(0(\.\d+)?|1(\.0+)?)")
MethodKind = Literal["teacher", "student", "lora"]
Table = dict[str, Any]


def _as_list(value: object) -> object:
    """Return a comma-separated string as a list, anything else unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**31)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, int) else _as_list(value)),
]


def _as_text(value: object) -> object:
    """Return a layer number, or a list of them, as the text that stands for it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return ",".join(map(str, value)) if isinstance(value, list) else value


Layers = Annotated[str, BeforeValidator(_as_text)]


class Settings(BaseModel):
    """A table of settings: frozen, no key beyond those declared, every number finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Record = TypeVar("Record", bound=Settings)


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


class EncoderSettings(Settings):
    """``[encoder]``: the pretrained model that everything starts from."""

    name: str = Field("minilm", description="minilm (comes with distilora), a folder, or a hub id")
    max_length: int = Field(128, ge=8, le=8192, description="longest input in tokens; longer texts are cut")
    attention: Literal["auto", "eager", "sdpa"] = Field(
        "auto", description="attention code; auto: eager on a processor (faster on short texts), sdpa on a GPU"
    )


class TrainingSettings(Settings):
    """``[training]``: the loop, the same for every method."""

    epochs: int = Field(3, ge=1, le=1000, description="passes over the training rows, at most")
    learning_rate: float | None = Field(
        None, gt=0, lt=1, description="peak learning rate; absent: by method and width of the encoder"
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
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    class_weight_power: float = Field(
        0.25,
        ge=0,
        le=1,
        description="cross-entropy weighs a class by its frequency to minus this power; 0: all the same, 1: balanced",
    )
    patience: int = Field(2, ge=0, description="epochs without a better validation macro-F1 before it stops; 0: never")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bfloat16 where the machine computes in it, else float32"
    )
    threads: int | None = Field(None, ge=1, description="processor threads; absent: one a core; recorded")
    logging_steps: int = Field(20, ge=1, description="steps between two entries of the training history")


class DistillationSettings(Settings):
    """``[distillation]``: the weight of each loss term of a student, and the temperature."""

    hard: float = Field(0.2, ge=0, description="weight of the cross-entropy with the labels")
    soft: float = Field(0.8, ge=0, description="weight of T²·KL to the teacher's softened probabilities")
    cosine_logits: float = Field(0.1, ge=0, description="weight of the cosine loss between logits")
    cosine_hidden: float = Field(
        0.0, ge=0, description="weight of the cosine loss between hidden states, layer by layer; runs the teacher live"
    )
    temperature: float = Field(2.0, gt=0, le=100, description="T, no unit; above 1 softens both distributions")

    @model_validator(mode="after")
    def _some_term_counts(self) -> Self:
        if not (self.hard + self.soft + self.cosine_logits + self.cosine_hidden > 0):
            raise ValueError("all loss terms have weight 0: give at least one of them a weight")
        return self

    @property
    def uses_teacher(self) -> bool:
        """Return whether any term looks at the teacher."""
        return self.soft + self.cosine_logits + self.cosine_hidden > 0


class LoraSettings(Settings):
    """``[lora]``: low-rank adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

    rank: int = Field(8, ge=1, le=1024, description="rank of each adapter")
    alpha: float = Field(16.0, gt=0, description="adapters are scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before each adapter")
    targets: Names = Field(
        ("all-linear",), description="module names that get an adapter, or all-linear for those of the layer stack"
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


class MethodSettings(Settings):
    """One method, with everything that holds for it."""

    name: str
    kind: MethodKind
    layers: Layers | None = Field(
        None, description="a student's teacher layers: odd, even, first, last, spread, or 1,4,8"
    )
    training: TrainingSettings = TrainingSettings()
    distillation: DistillationSettings = DistillationSettings()
    lora: LoraSettings = LoraSettings()


_STUDENT: Table = {"kind": "student", "training": {"epochs": 5}}
# None is like another: what an experiment changes in one preset changes no other.
PRESETS: Mapping[str, Table] = {
    "teacher": {"kind": "teacher"},
    **{name: {**_STUDENT, "layers": name} for name in ("odd", "even", "first", "last", "spread")},
    "lora": {"kind": "lora"},
    # The setting of the earlier projects, to compare with.
    "lora-qv": {"kind": "lora", "lora": {"targets": ["query", "value"], "alpha": 32.0, "dropout": 0.1}},
}
_SHARED_TABLES: Mapping[str, type[Settings]] = {
    "training": TrainingSettings,
    "distillation": DistillationSettings,
    "lora": LoraSettings,
}
DEFAULT_METHODS = ("teacher", "odd", "even", "lora")
_RESERVED_NAMES = ("majority", "tfidf")


class _MethodTable(Settings):
    """What a ``[methods.NAME]`` table may hold; its inner tables are checked once merged."""

    like: str | None = None
    layers: Layers | None = None
    training: Table = {}
    distillation: Table = {}
    lora: Table = {}


class ExperimentSettings(Settings):
    """A whole experiment: the top of the TOML."""

    data: DataSettings = DataSettings()
    encoder: EncoderSettings = EncoderSettings()
    training: Table = Field({}, description="settings of the training loop for every method")
    distillation: Table = Field({}, description="loss weights and temperature for every student")
    lora: Table = Field({}, description="adapter settings for every LoRA method")
    export: ExportSettings = ExportSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    suites: SuitesSettings = SuitesSettings()
    report: ReportSettings = ReportSettings()
    run: Names = Field((), description="methods to run; absent: teacher, odd, even, lora and those of [methods]")
    seeds: Seeds = Field((0,), description="seeds of initialisation, dropout and batch order; a run for each")
    methods: dict[str, _MethodTable] = Field({}, description="own methods: [methods.NAME] like = 'odd', …")

    @model_validator(mode="after")
    def _every_method_resolves(self) -> Self:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: give at least one, and each once")
        for key, record in _SHARED_TABLES.items():
            validated(record, getattr(self, key), where=key)
        for name in dict.fromkeys((*PRESETS, *self.methods, *self.run)):
            self.method(name)
        return self

    @property
    def method_names(self) -> tuple[str, ...]:
        """Return the methods to run, each once, the teacher first wherever a student needs it."""
        names = self.run or tuple(dict.fromkeys((*DEFAULT_METHODS, *self.methods)))
        needs_teacher = any(self.method(name).kind == "student" for name in names)
        return tuple(dict.fromkeys((*(["teacher"] if needs_teacher else []), *names)))

    def method(self, name: str) -> MethodSettings:
        """Return the settings of one method, merged from all that holds for it.

        Args:
            name: a built-in preset or a table of ``methods``.

        Raises:
            ConfigError: there is no such method, its ``like`` leads nowhere or in a circle, or a value is wrong.

        Example:
            >>> ExperimentSettings(methods={"odd-t4": {"like": "odd", "distillation": {"temperature": 4}}}).method(
            ...     "odd-t4").distillation.temperature
            4.0
        """
        chain = self._ancestry(name)
        own = [self.methods[link].model_dump(exclude_unset=True) for link in chain if link in self.methods]
        built_in = [PRESETS[link] for link in chain if link in PRESETS]
        shared = {key: getattr(self, key) for key in _SHARED_TABLES}
        merged: Table = {}
        for table in (*built_in, shared, *own):
            merged = _merged(merged, table)
        merged.pop("like", None)
        where = f"methods.{name}"
        if merged["kind"] != "student" and "layers" in merged:
            raise ConfigError(f"{where}.layers: only students are made of layers, and {name} is a {merged['kind']}")
        return validated(MethodSettings, {**merged, "name": name}, where=where)

    def _ancestry(self, name: str) -> list[str]:
        """Return the presets ``name`` is made of, the most general first."""
        chain = [name]
        known = (*PRESETS, *self.methods)
        while True:
            link = chain[0]
            if link not in known:
                raise ConfigError(f'method "{link}" is not one of {", ".join(known)}{_nearest(link, known)}')
            if not METHOD_NAME.fullmatch(link) or link in _RESERVED_NAMES:
                raise ConfigError(
                    f'method name "{link}": use lower-case letters, digits and hyphens; '
                    f"{' and '.join(_RESERVED_NAMES)} are taken by the baselines"
                )
            parent = self.methods[link].like if link in self.methods else None
            if parent is not None and link in PRESETS:
                raise ConfigError(f"methods.{link}: {link} is built in and like nothing else; give yours another name")
            if parent is None:
                if link not in PRESETS:
                    raise ConfigError(f'methods.{link}: say which method it is like, such as like = "odd"')
                return chain
            if parent in chain:
                raise ConfigError(f'methods.{link}: like = "{parent}" leads in a circle: {" → ".join(chain)}')
            chain.insert(0, parent)


def read_experiment(
    path: Path | None = None, *, assignments: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> ExperimentSettings:
    """Return the experiment of a TOML file with single settings changed.

    Args:
        path: the TOML file; absent: all defaults.
        assignments: changes of the form ``table.key=value``; the value is read as TOML, else as a bare string.
        changes: further changes, as nested tables; they hold above all others.

    Raises:
        ConfigError: the file or a setting cannot be used; names the nearest right key.

    Example:
        >>> read_experiment(assignments=["encoder.max_length=64", "seeds=0,1"]).seeds
        (0, 1)
    """
    table: Table = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; give the path of an experiment's TOML") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: not a readable TOML file: {error}") from None
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f'--set "{assignment}": write table.key=value, such as training.epochs=5')
        table = _merged(table, _nested(key.strip().split("."), _toml_value(value.strip())))
    return validated(ExperimentSettings, _merged(table, changes or {}), where=str(path) if path else "")


def to_toml(table: Mapping[str, Any]) -> str:
    """Return nested tables as TOML; keys whose value is ``None`` are left out, as TOML has no such value.

    Example:
        >>> print(to_toml({"seed": 0, "training": {"learning_rate": 1e-4, "threads": None}}), end="")
        seed = 0
        <BLANKLINE>
        [training]
        learning_rate = 0.0001
    """
    return "\n".join(_toml_lines(table, ())) + "\n"


def _toml_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    plain = [
        f"{_toml_key(key)} = {_toml(value)}" for key, value in table.items() if key not in inner and value is not None
    ]
    lines = [f"[{'.'.join(map(_toml_key, path))}]", *plain] if path and (plain or not inner) else plain
    for key, value in inner.items():
        lines += ["", *_toml_lines(value, (*path, key))]
    return lines if path else "\n".join(lines).lstrip("\n").split("\n")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)


def _toml(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def validated(record: type[Record], table: Table, *, where: str) -> Record:
    """Return ``table`` as a record, or raise one line that names the first wrong key.

    Args:
        record: what to make of it.
        table: settings by name, nested where the record is.
        where: what the settings belong to: a file, or the table's own name; may be empty.

    Raises:
        ConfigError: a key or a value is wrong.
    """
    try:
        return record.model_validate(table)
    except ValidationError as failure:
        raise ConfigError(_first_problem(failure, record, where=where)) from None


def _first_problem(failure: ValidationError, record: type[Settings], *, where: str) -> str:
    first = failure.errors()[0]
    keys = [str(part) for part in first["loc"]]
    is_file = where.endswith(".toml")
    key = ".".join(filter(None, ("" if is_file else where, *keys)))
    place = ": ".join(filter(None, (where if is_file else "", key)))
    if first["type"] == "extra_forbidden":
        allowed = _fields_at(record, keys[:-1])
        nearest = _nearest(keys[-1], allowed)
        return f"{place}: unknown setting{nearest or '; allowed are ' + ', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{place}: this setting is missing"
    message = first["msg"].removeprefix("Value error, ")
    came = "" if first["type"] == "value_error" else f", came {first['input']!r}"
    return f"{place}: {message}{came}" if place else f"{message}{came}"


def _fields_at(record: type[Settings], keys: Sequence[str]) -> list[str]:
    for key in keys:
        field = record.model_fields.get(key)
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, Settings):
            record = inner
        elif key == "methods":
            record = _MethodTable
    return list(record.model_fields)


def _nearest(word: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, allowed, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Return ``below`` with the values of ``above`` put over it, table by table."""
    result = dict(below)
    for key, value in above.items():
        inner = result.get(key)
        result[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return result


def _nested(keys: Sequence[str], value: object) -> Table:
    return {keys[0]: _nested(keys[1:], value) if len(keys) > 1 else value}


def _toml_value(text: str) -> object:
    """Return ``text`` as TOML reads it, or as it stands where TOML does not."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
