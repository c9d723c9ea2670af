"""What every table of settings has in common: frozen, checked on entry, each fault one line that helps."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from distilora.errors import ConfigError

Table = dict[str, Any]


class Settings(BaseModel):
    """A table of settings: frozen, no key beyond those declared, every number finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Record = TypeVar("Record", bound=Settings)


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
        return f"{place}: unknown setting{nearest(keys[-1], allowed) or '; allowed are ' + ', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{place}: this setting is missing"
    message = first["msg"].removeprefix("Value error, ")
    came = "" if first["type"] == "value_error" else f", came {first['input']!r}"
    return f"{place}: {message}{came}" if place else f"{message}{came}"


def _fields_at(record: type[Settings], keys: Sequence[str]) -> list[str]:
    for key in keys:
        field = record.model_fields.get(key)
        inner = field.annotation if field else None
        for kind in (inner, *get_args(inner)):  # a table, or tables by name
            if isinstance(kind, type) and issubclass(kind, Settings):
                record = kind
    return list(record.model_fields)


def nearest(word: str, allowed: Sequence[str]) -> str:
    """Return the allowed word that was likely meant, as the end of a sentence; nothing where none is near."""
    close = difflib.get_close_matches(word, allowed, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Return ``below`` with the values of ``above`` put over it, table by table."""
    result = dict(below)
    for key, value in above.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return result
