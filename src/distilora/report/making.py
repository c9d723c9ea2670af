"""What a method is, in plain words: what its model stands on, and what it was trained by."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distilora.config import ENCODER, SEARCH, TEACHER, MethodSettings
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import listed, printable
from distilora.runs import CONFIG_FILE, Result, RunKind, RunRecord


@dataclass(frozen=True)
class Making:
    """How a method comes to its model, as far as it is known."""

    kind: RunKind
    layers: Sequence[int] = ()
    """That are kept of what the model started from, from 1; empty where all are, and where it is not known which."""
    searched: bool = False
    """Whether they were searched, which each seed does by itself."""
    start: str | None = None
    """The method whose trained model adapters stand on; absent: the encoder."""
    start_kind: RunKind | None = None
    """Of that method; absent where it is not known."""
    members: Sequence[str] = ()
    """Of an ensemble."""
    learned: bool = False
    """Whether the answers of a teacher were learnt from."""
    joint: bool = False
    """Whether adapters were trained together with a student."""


def what_it_is(making: Making) -> str:
    """Return what a method is, as a noun phrase without a point; names in it are printable, but not escaped.

    Example:
        >>> print(what_it_is(Making("student", (1, 3, 5), learned=True)))
        a student, made of layers 1, 3 and 5 of its fine-tuned teacher and trained by distillation
        >>> print(what_it_is(Making("lora", (1, 3, 5), start="odd", start_kind="student")))
        LoRA adapters on the trained odd student (layers 1, 3 and 5 of its teacher)
        >>> print(what_it_is(Making("lora", learned=True)))
        LoRA adapters on the encoder, trained by distillation from its fine-tuned teacher
    """
    if making.kind == "student":
        return _student(making)
    if making.kind == "lora":
        cut = making.start is not None and making.layers and _start_kind(making) == "student"
        layers = f" ({_layers(making)} of its teacher)" if cut else ""
        return f"{brief(making)}{layers}{_lesson(making)}"
    if making.kind == "ensemble":
        return f"an ensemble: {brief(making)}"
    return {"teacher": "the whole encoder, fine-tuned at full depth", "baseline": "there to be compared with"}[
        making.kind
    ]


def brief(making: Making) -> str:
    """Return what a method is, as short as a cell of a table needs it.

    Example:
        >>> brief(Making("student", (1, 3))), brief(Making("lora", (1, 3)))
        ('student', 'LoRA adapters on layers 1 and 3 of the encoder')
    """
    if making.kind == "lora":
        return f"LoRA adapters on {_base(making)}"
    if making.kind == "ensemble":
        return f"the mean of the calibrated probabilities of {listed(making.members)}"
    return "student, trained together with LoRA adapters" if making.joint else making.kind


def _student(making: Making) -> str:
    how = "by distillation" if making.learned else "on the labels alone"
    beside = ", together with LoRA adapters that are now merged into it" if making.joint else ""
    return f"a student, made of {_taken(making)} and trained {how}{beside}"


def _taken(making: Making) -> str:
    if making.searched and not making.layers:
        return "layers of its fine-tuned teacher that a search chooses for each seed,"
    return f"{_layers(making) if making.layers else 'some layers'} of its fine-tuned teacher"


def _layers(making: Making) -> str:
    noun = "layer" if len(making.layers) == 1 else "layers"
    return f"{noun} {listed([str(layer) for layer in making.layers])}"


def _base(making: Making) -> str:
    if making.start is None:
        return f"{_layers(making)} of the encoder" if making.layers else "the encoder"
    if making.start == TEACHER:
        return "the fine-tuned teacher"
    noun = {"student": "student", "teacher": "teacher"}.get(_start_kind(making) or "", "model")
    return f"the trained {printable(making.start)} {noun}"


def _start_kind(making: Making) -> RunKind | None:
    """Return the kind of what adapters stand on: where it is not known, some of a teacher's layers are a student."""
    return making.start_kind or ("student" if making.layers else None)


def _lesson(making: Making) -> str:
    return ", trained by distillation from its fine-tuned teacher" if making.learned else ""


def read_settings(run: Path) -> MethodSettings | None:
    """Return the settings that a run was made with, or nothing where this version cannot read them."""
    try:
        table = tomllib.loads((run / CONFIG_FILE).read_text(encoding="utf-8"))
        return MethodSettings.model_validate(table["method"])
    except (OSError, ValueError, KeyError):  # ValueError: no TOML, no UTF-8, or settings of another version
        return None


def making_of_run(result: Result, settings: MethodSettings | None, *, start_kind: RunKind | None = None) -> Making:
    """Return how a run's model was made.

    Args:
        result: of the run.
        settings: that it was made with, where they are known.
        start_kind: kind of the method that its adapters stand on, where it is known.
    """
    start = result.start
    if start is None and settings is not None and settings.kind == "lora" and settings.start != ENCODER:
        start = settings.start  # a void run's result does not tell
    return Making(
        kind=result.kind,
        layers=result.layers or (),
        searched=settings is not None and settings.layers == SEARCH,
        start=start,
        start_kind=start_kind,
        members=result.members,
        learned=_learned(result, settings),
        joint=settings is not None and settings.kind == "joint",
    )


def _learned(result: Result, settings: MethodSettings | None) -> bool:
    """Return whether a model looked at its teacher, as all students do whose settings do not say otherwise."""
    if result.kind == "student":
        return settings is None or settings.distillation.uses_teacher
    return settings is not None and settings.learns_from == TEACHER and settings.distillation.uses_teacher


def making_of_method(comparison: Comparison, records: Sequence[RunRecord], row: MethodRow) -> Making:
    """Return how a method's models were made, by its first valid run, else by its first; layers where all agree."""
    own = [record for record in records if record.result.method == row.method]
    own.sort(key=lambda record: record.result.seed not in row.seeds)
    if not own:
        return Making(row.kind, row.layers or (), learned=row.kind == "student")
    result = own[0].result
    making = making_of_run(result, read_settings(own[0].folder), start_kind=kind_of(comparison, result.start))
    return replace(making, layers=row.layers or ())


def kind_of(comparison: Comparison, method: str | None) -> RunKind | None:
    """Return the kind of a method that a comparison knows."""
    row = comparison.row(method)
    return row.kind if row else None
