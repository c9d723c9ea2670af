"""A whole experiment: the tables together, the methods merged from them, and how they are read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from distilora.config.base import Settings, Table, merged, nearest, validated
from distilora.config.methods import (
    DEFAULT_METHODS,
    PRESETS,
    RESERVED_NAMES,
    SHARED_TABLES,
    TEACHER,
    MethodSettings,
    MethodTable,
)
from distilora.config.tables import (
    DataSettings,
    EncoderSettings,
    EvidenceSettings,
    ExportSettings,
    Names,
    ReportSettings,
    ResourcesSettings,
    SuitesSettings,
    as_list,
)
from distilora.errors import ConfigError
from distilora.layout import METHOD_NAME, MOST_MEMBERS

_LONGEST_NAME = 255
"""Of a folder, in most file systems."""
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**31)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, int) else as_list(value)),
]


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
    resources: ResourcesSettings = ResourcesSettings()
    run: Names = Field((), description="methods to run; absent: teacher, odd, even, lora and those of [methods]")
    seeds: Seeds = Field((0,), description="seeds of initialisation, dropout and batch order; a run for each")
    methods: dict[str, MethodTable] = Field({}, description="own methods: [methods.NAME] like = 'odd', …")

    @model_validator(mode="after")
    def _every_method_resolves(self) -> Self:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: give at least one, and each once")
        for key, record in SHARED_TABLES.items():
            validated(record, getattr(self, key), where=key)
        for name in dict.fromkeys((*self.methods, *self.method_names)):
            self.method(name)
        return self

    @property
    def method_names(self) -> tuple[str, ...]:
        """Return the methods to run, each once, behind those that it needs; a teacher comes first."""
        ordered: list[str] = []
        for name in self.run or (*DEFAULT_METHODS, *self.methods):
            self._add(name, ordered, ())
        return tuple(sorted(ordered, key=lambda name: name != TEACHER))

    def _add(self, name: str, ordered: list[str], needing: tuple[str, ...]) -> None:
        if name in needing:
            raise ConfigError(f"methods.{name}.start leads in a circle: {' → '.join((*needing, name))}")
        method = self.method(name)
        if "+" in method.start:
            raise ConfigError(f"methods.{name}.start: adapters stand on one model, and {method.start} is several")
        same = next((one for one in ordered if set(one.split("+")) == set(name.split("+"))), name)
        if same != name:
            raise ConfigError(f'method "{name}" is "{same}" once more: name the ensemble once')
        for needed in method.needs:
            self._add(needed, ordered, (*needing, name))
        if name not in ordered:
            ordered.append(name)

    def method(self, name: str) -> MethodSettings:
        """Return the settings of one method, merged from all that holds for it.

        Args:
            name: a built-in preset, a table of ``methods``, or an ensemble of some: their names joined by ``+``.

        Raises:
            ConfigError: there is no such method, its ``like`` leads nowhere or in a circle, or a value is wrong.

        Example:
            >>> ExperimentSettings(methods={"odd-t4": {"like": "odd", "distillation": {"temperature": 4}}}).method(
            ...     "odd-t4").distillation.temperature
            4.0
        """
        where = f"methods.{name}"
        if "+" in name:
            members = tuple(name.split("+"))
            if len(set(members)) < len(members):
                raise ConfigError(f'method "{name}": an ensemble needs each of its members once')
            if len(members) > MOST_MEMBERS or len(name) > _LONGEST_NAME:
                raise ConfigError(
                    f'method "{name[:40]}…": an ensemble has at most {MOST_MEMBERS} members, whose names joined have '
                    f"at most {_LONGEST_NAME} characters, for its folder is called so"
                )
            return validated(MethodSettings, {"name": name, "kind": "ensemble", "members": members}, where=where)
        chain = self._ancestry(name)
        own = [self.methods[link].model_dump(exclude_unset=True) for link in chain if link in self.methods]
        built_in = [PRESETS[link] for link in chain if link in PRESETS]
        table: Table = {}
        for above in (*built_in, {key: getattr(self, key) for key in SHARED_TABLES}, *own):
            table = merged(table, above)
        table.pop("like", None)
        return validated(MethodSettings, {**table, "name": name}, where=where)

    def _ancestry(self, name: str) -> list[str]:
        """Return the presets ``name`` is made of, the most general first."""
        chain = [name]
        known = (*PRESETS, *self.methods)
        while True:
            link = chain[0]
            if link not in known:
                raise ConfigError(f'method "{link}" is not one of {", ".join(known)}{nearest(link, known)}')
            if not METHOD_NAME.fullmatch(link) or link in RESERVED_NAMES:
                raise ConfigError(
                    f'method name "{link}": use lower-case letters, digits and hyphens; '
                    f"{' and '.join(RESERVED_NAMES)} are taken by the baselines"
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
        table = merged(table, _nested(key.strip().split("."), _toml_value(value.strip())))
    return validated(ExperimentSettings, merged(table, changes or {}), where=str(path) if path else "")


def _nested(keys: Sequence[str], value: object) -> Table:
    return {keys[0]: _nested(keys[1:], value) if len(keys) > 1 else value}


def _toml_value(text: str) -> object:
    """Return ``text`` as TOML reads it, or as it stands where TOML does not."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
