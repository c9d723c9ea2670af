"""Settings as TOML text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


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
