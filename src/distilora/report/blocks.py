"""What a report is made of: plain blocks, which Markdown and HTML write in their own ways."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of plain text; the first column names the row, and ``numeric`` columns are set to the right."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: bool = True


@dataclass(frozen=True)
class FigureBlock:
    """A figure by the name of its file, without ending."""

    name: str
    alternative: str
    """What a reader who cannot see it should know."""
    caption: str


Block = Paragraph | Bullets | Table | FigureBlock


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
