"""What several commands share: options and what they change, the check for the training libraries, where lines go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from distilora.errors import ConfigError, MissingExtraError

_TRAIN_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "sklearn", "matplotlib", "safetensors", "onnx")

Experiment = Annotated[
    Path | None, typer.Argument(metavar="EXPERIMENT.toml", help="Its settings; absent: all defaults.")
]
Source = Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="A file, a known name or a hub id.")]
Text = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of the text; absent: guessed.")]
Label = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of the label; absent: guessed.")]
LabelNames = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Names for bare labels, such as 0=civil,1=toxic.")
]
Positive = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS", help="A class that counts as hateful; may be given again."),
]
Unlabelled = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Further comments without labels, which the teacher labels for its students."),
]
Encoder = Annotated[str | None, typer.Option(metavar="NAME", help="minilm (built in), a folder, or a hub id.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Any setting of an experiment.")
]
MaxSize = Annotated[
    float | None,
    typer.Option("--max-size-mb", metavar="MB", help="Recommend no model that ships more than this, in 10^6 bytes."),
]
MaxLatency = Annotated[
    float | None,
    typer.Option("--max-latency-ms", metavar="MS", help="Nor one that takes longer for a long text, 95 of 100 times."),
]
MinRecall = Annotated[
    float | None,
    typer.Option("--min-recall", metavar="SHARE", help="Nor one that finds fewer of the positive comments."),
]
RunEngine = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="local: in this process; ray: many at a time, on this machine or a cluster."),
]
RayAddress = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Of a Ray that runs already; absent: one is started here.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def changes(**flags: Any) -> dict[str, Any]:
    """Return the flags that were given as the tables of an experiment; ``None`` and ``[]`` were not given."""
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    tables: dict[str, Any] = {name: given.pop(name) for name in ("run", "seeds") if name in given}
    limits = {name: given.pop(name) for name in ("max_size_mb", "max_latency_ms", "min_recall") if name in given}
    if limits:
        tables["report"] = limits
    if "encoder" in given:
        tables["encoder"] = {"name": given.pop("encoder")}
    if "label_names" in given:
        given["label_names"] = _names(given["label_names"])
    return {**tables, "data": given}


def _names(pairs: str) -> dict[str, str]:
    """Return ``0=civil,1=toxic`` as a table."""
    named = [pair.partition("=") for pair in pairs.split(",") if pair.strip()]
    if not named or any(not equals for _, equals, _ in named):
        raise ConfigError(f'--label-names "{pairs}": write label=name pairs, such as 0=civil,1=toxic')
    return {key.strip(): name.strip() for key, _, name in named}


def require_train_extra() -> None:
    """Raise MissingExtraError unless everything that training needs is installed."""
    for library in _TRAIN_LIBRARIES:
        if find_spec(library) is None:
            raise MissingExtraError(library, "train")


def teller(*, as_json: bool) -> Callable[[str], None]:
    """Return what tells of progress: on standard error where standard output is for a program."""
    stream = sys.stderr if as_json else sys.stdout
    return lambda line: print(line, file=stream, flush=True)


@contextmanager
def resumable() -> Iterator[None]:
    """Tell, where Ctrl-C ends what is done within, that the same command goes on there; other commands begin anew."""
    try:
        yield
    except KeyboardInterrupt:
        print("distilora: stopped; the same command goes on where it stopped", file=sys.stderr)
        raise


def printed(name: str) -> str:
    """Return a name from a file so that a terminal takes it for nothing but text."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
