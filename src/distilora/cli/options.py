"""What several commands share: options, the check for the training libraries, where lines go."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated

import typer

from distilora.errors import MissingExtraError

_TRAIN_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "sklearn", "matplotlib", "safetensors", "onnx")

Text = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of the text; absent: guessed.")]
Label = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of the label; absent: guessed.")]
LabelNames = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Names for bare labels, such as 0=civil,1=toxic.")
]
Positive = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS", help="A class that counts as hateful; may be given again."),
]
Encoder = Annotated[str | None, typer.Option(metavar="NAME", help="minilm (built in), a folder, or a hub id.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Any setting of an experiment.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def require_train_extra() -> None:
    """Raise MissingExtraError unless everything that training needs is installed."""
    for library in _TRAIN_LIBRARIES:
        if find_spec(library) is None:
            raise MissingExtraError(library, "train")


def teller(*, as_json: bool) -> Callable[[str], None]:
    """Return what tells of progress: on standard error where standard output is for a program."""
    stream = sys.stderr if as_json else sys.stdout
    return lambda line: print(line, file=stream, flush=True)


def printed(name: str) -> str:
    """Return a name from a file so that a terminal takes it for nothing but text."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
