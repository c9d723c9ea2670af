"""Rows of any source in one shape, read one after the other so that no file is held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Protocol


class Readable(Protocol):
    """What can be opened again and again, such as a ``pathlib.Path``."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Return its bytes from the beginning."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the asked-for values, or what is wrong with the row as a whole."""

    values: tuple[object, ...]
    """In the order the columns were asked for; empty where there is a problem."""
    problem: str | None = None
    place: str = ""
    """Where else the row can be found, such as ``line 840``; empty where its number says it all."""


@dataclass(frozen=True)
class Table:
    """A source whose columns are known and whose rows can be read."""

    source: str
    columns: tuple[str, ...]
    rows: Callable[[Sequence[str]], Iterator[Row]]
    """Reads the named columns of all rows, in the order of the source."""
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the numbers 0, 1, … by column, where the source itself tells them."""
    part_column: str | None = None
    """The column that says to which part a row belongs; absent where the source has no split of its own."""
    notes: tuple[str, ...] = ()
