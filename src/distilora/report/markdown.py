"""A report as Markdown."""

from __future__ import annotations

import re

from distilora.report.blocks import Block, Bullets, Document, FigureBlock, Paragraph, Table

_SPECIAL = re.compile(r"[\\`*_\[\]<>|&~]")


def to_markdown(document: Document) -> str:
    """Return a document as GitHub's Markdown; figures are linked as ``figures/NAME.svg``."""
    parts = [f"# {escaped(document.title)}", escaped(document.lead)]
    for section in document.sections:
        parts.append(f"## {escaped(section.title)}")
        parts.extend(_block(block) for block in section.blocks)
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    r"""Return text on one line in which nothing is Markdown or HTML.

    Example:
        >>> print(escaped("a|b <i>"))
        a\|b \<i\>
    """
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return escaped(text)
        case Bullets(items):
            return "\n".join(f"- {escaped(item)}" for item in items)
        case Table():
            return _table(block)
        case FigureBlock(name, alternative, caption):
            return f"![{escaped(alternative)}](figures/{name}.svg)\n\n{escaped(caption)}"


def _table(table: Table) -> str:
    others = "---:" if table.numeric else ":---"
    lines = [table.columns, (":---", *(others for _ in table.columns[1:])), *table.rows]
    header, rule, *rows = ("| " + " | ".join(cells) + " |" for cells in _escaped_cells(lines))
    return "\n".join([f"{escaped(table.caption)}:", "", header, rule, *rows])


def _escaped_cells(lines: list[tuple[str, ...]]) -> list[list[str]]:
    return [[escaped(cell) for cell in line] for line in lines]
