"""What a report is made of: plain blocks, which Markdown and HTML write in their own ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """Questions in a word or a few, each with its answer."""

    items: tuple[tuple[str, str], ...]


class Keyed(NamedTuple):
    """A cell whose text does not begin with the number that it is sorted by."""

    text: str
    key: float


Cell = str | Keyed


def cell_text(cell: Cell) -> str:
    """Return what a reader sees of a cell."""
    return cell if isinstance(cell, str) else cell.text


@dataclass(frozen=True)
class Table:
    """Rows of plain text; the first column names the row, and ``numeric`` columns are set to the right.

    A reader can sort the rows by any column: by the number that a cell begins with, else by its text.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: bool = True
    links: Mapping[str, str] = field(default_factory=dict)
    """Where the name of a row leads, by name: a path beside the report."""
    sortable: bool = True
    """Whether any other order of the rows would make sense."""


@dataclass(frozen=True)
class FigureBlock:
    """A figure."""

    name: str
    """Of its file, without ending, and of the figure in the page; no two figures of a report share one."""
    alternative: str
    """What a reader who cannot see it should know."""
    caption: str
    svg: str
    """A whole SVG file."""


@dataclass(frozen=True)
class Links:
    """Files that lie beside the report: what each is called, and its path."""

    items: tuple[tuple[str, str], ...]


Inner = Paragraph | Bullets | Answers | Table | FigureBlock | Links


@dataclass(frozen=True)
class Card:
    """What matters most, in a box."""

    label: str
    """What the title is: a word or two."""
    title: str
    text: str
    facts: tuple[tuple[str, str], ...] = ()
    """A few figures, each after what it is."""


@dataclass(frozen=True)
class Fold:
    """Blocks that are out of sight until they are asked for."""

    title: str
    blocks: tuple[Inner, ...]


Block = Inner | Card | Fold


def figure(name: str, svg: str | None, *, alternative: str, caption: str) -> tuple[FigureBlock, ...]:
    """Return a figure as a block, or nothing where there was nothing to draw."""
    return () if svg is None else (FigureBlock(name, alternative, caption, svg),)


@dataclass(frozen=True)
class Section:
    """A heading with what follows it."""

    name: str
    """For links to it: lower-case letters and hyphens."""
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report; no text in it is escaped yet."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    around: tuple[tuple[str, str], ...] = ()
    """Other pages of the report: what each is called, and its path."""
