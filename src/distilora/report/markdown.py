"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from distilora.report.blocks import (
    Answers,
    Block,
    Bullets,
    Card,
    Cell,
    Document,
    FigureBlock,
    Fold,
    Inner,
    Links,
    Paragraph,
    Table,
    cell_text,
)

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
        case Card(label, title, text, facts):
            lines = [f"> - {escaped(what)}: {escaped(value)}" for what, value in facts]
            said = f"> **{escaped(label)}: {escaped(title)}.** {escaped(text)}"
            return "\n".join([said, ">", *lines]) if lines else said
        case Fold(title, blocks):
            inner = "\n\n".join(_inner(one) for one in blocks)
            return f"<details><summary>{_in_html(title)}</summary>\n\n{inner}\n\n</details>"
        case _:
            return _inner(block)


def _inner(block: Inner) -> str:
    match block:
        case Paragraph(text):
            return escaped(text)
        case Bullets(items):
            return _items(escaped(item) for item in items)
        case Answers(items):
            return _items(f"**{escaped(asked)}** {escaped(answer)}" for asked, answer in items)
        case Links(items):
            return _items(_link(text, path) for text, path in items)
        case Table():
            return _table(block)
        case FigureBlock(name, alternative, caption):
            return f"![{escaped(alternative)}](figures/{name}.svg)\n\n{escaped(caption)}"


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _link(text: str, path: str) -> str:
    return f"[{escaped(text)}]({quote(path)})"


def _in_html(text: str) -> str:
    """Return text on one line for inside a tag, where backslashes do not escape."""
    plain = " ".join(text.split())
    return re.sub(r"[^\w .,:;%±−’–-]", lambda found: f"&#{ord(found.group())};", plain)


def _table(table: Table) -> str:
    rule = (":---", *("---:" if table.numeric else ":---" for _ in table.columns[1:]))
    lines = [[escaped(name) for name in table.columns], rule, *(_cells(table, row) for row in table.rows)]
    return "\n".join([f"{escaped(table.caption)}:", "", *("| " + " | ".join(line) + " |" for line in lines)])


def _cells(table: Table, row: Sequence[Cell]) -> list[str]:
    name, *others = (cell_text(cell) for cell in row)
    head = _link(name, table.links[name]) if name in table.links else escaped(name)
    return [head, *map(escaped, others)]
