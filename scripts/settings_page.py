"""Write docs/settings.md from the settings' own records, so that it cannot be out of date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

from distilora.config import (
    DEFAULT_METHODS,
    PRESETS,
    DataSettings,
    DistillationSettings,
    EncoderSettings,
    EvidenceSettings,
    ExportSettings,
    LoraSettings,
    ReportSettings,
    ResourcesSettings,
    Settings,
    SuitesSettings,
    TrainingSettings,
    to_toml,
)
from distilora.training.arguments import LEARNING_RATES, NARROW

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
_TABLES: dict[str, type[Settings]] = {
    "data": DataSettings,
    "encoder": EncoderSettings,
    "training": TrainingSettings,
    "distillation": DistillationSettings,
    "lora": LoraSettings,
    "export": ExportSettings,
    "evidence": EvidenceSettings,
    "suites": SuitesSettings,
    "report": ReportSettings,
    "resources": ResourcesSettings,
}
_INTRODUCTION = f"""\
# Settings

An experiment is one TOML file. Every setting can also be given as `--set table.key=value`; a wrong key is answered with
the nearest right one. At the top of the file stand `run`, the methods to run (by default
{", ".join(DEFAULT_METHODS)} and those of your own `[methods.NAME]` tables),
and `seeds`, one run of each method for each.

What holds for a method is, in rising order: the defaults below, its preset, the experiment's `[training]`,
`[distillation]` and `[lora]`, and the method's own table. So an ablation is one more table:

```toml
run = ["teacher", "odd", "odd-t4"]

[methods.odd-t4]
like = "odd"
distillation.temperature = 4.0
```
"""
_RATES = ", ".join(f"{kind} {narrow:g} and {wide:g}" for kind, (narrow, wide) in LEARNING_RATES.items())
_NOTES = {
    "training": f"Without `learning_rate`, by kind of method, up to a hidden width of {NARROW} and above it: {_RATES}; "
    "chosen by validation macro-F1."
}


def page() -> str:
    """Return the page as Markdown."""
    tables = [_table(name, record) for name, record in _TABLES.items()]
    presets = to_toml({"methods": PRESETS}).strip()
    return "\n".join([_INTRODUCTION, *tables, f"## Presets\n\n```toml\n{presets}\n```\n"])


def _table(name: str, record: type[Settings]) -> str:
    rows = [
        f"| `{key}` | {_shown(field.default)} | {_range(field)} | {field.description} |"
        for key, field in _fields(record)
    ]
    lines = [f"## `[{name}]`\n", "| key | default | allowed | what it is |", "|---|---|---|---|", *rows, ""]
    return "\n".join([*lines, _NOTES[name], ""] if name in _NOTES else lines)


def _fields(record: type[Settings]) -> list[tuple[str, Any]]:
    return list(record.model_fields.items())


def _shown(default: object) -> str:
    if default is None or default == {}:
        return "absent"
    return f"`{to_toml({'value': default}).removeprefix('value = ').strip()}`"


def _range(field: Any) -> str:
    bounds = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if getattr(limit, name, None) is not None
    ]
    choices = [f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str)]
    return ", ".join(choices or bounds)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            0
            if PAGE.read_text(encoding="utf-8") == page()
            else f"{PAGE.name} is out of date: run {Path(__file__).name}"
        )
    PAGE.write_text(page(), encoding="utf-8")
