"""A page of a report as one HTML file that needs nothing else: style, pictures and its one script stand in it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from importlib import resources
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
    Section,
    Table,
    cell_text,
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header class="head">
{around}<h1>{title}</h1>
<p class="lead">{lead}</p>
</header>
<nav class="side" aria-label="Contents"><details class="contents" open><summary>Contents</summary>
<ul>
{contents}
</ul></details></nav>
<main>
{sections}
</main>
<script>{script}</script>
</body>
</html>
"""
_TOGETHER = re.compile(r"(?<=\d) (?=(?:%|MB|MiB|ms|s)(?!\w))|(?<=\bp) (?=[=<])|(?<=[=<±]) (?=\d)")
"""Blanks at which no line should end: before units, and around what belongs to p."""
_LONG_NUMBER, _SENTENCE, _LONG_WORDS = 8, 24, 30
"""Characters above which a cell may wrap: words among numbers; those that need room for it; words among words."""


def to_html(document: Document) -> str:
    """Return a document as a whole page; every text of it is escaped here."""
    script = _own_file("report.js")
    contents = (f'<li><a href="#{s.name}">{html.escape(s.title)}</a></li>' for s in document.sections)
    return _PAGE.format(
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src '{source_hash(script)}'",
        title=html.escape(document.title),
        lead=html.escape(document.lead),
        style=_own_file("report.css"),
        around=_around(document),
        contents="\n".join(contents),
        sections="\n".join(_section(section) for section in document.sections),
        script=script,
    )


def source_hash(script: str) -> str:
    """Return what a content security policy calls a script that stands in the page.

    Source:
        https://www.w3.org/TR/CSP3/#match-element-to-source-list.

    Example:
        >>> source_hash("")
        'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _own_file(name: str) -> str:
    return resources.files("distilora.report").joinpath(name).read_text(encoding="utf-8")


def _around(document: Document) -> str:
    if not document.around:
        return ""
    items = "".join(f"<li>{_link(text, path)}</li>" for text, path in document.around)
    return f'<nav class="around" aria-label="Pages of the report"><ul>{items}</ul></nav>\n'


def _link(text: str, path: str) -> str:
    return f'<a href="{html.escape(quote(path))}">{html.escape(text)}</a>'


def _sentence(text: str) -> str:
    """Return escaped text whose lines end only where they may."""
    return html.escape(_TOGETHER.sub("\u00a0", text))


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    heading = f'<h2 id="{section.name}">{html.escape(section.title)}</h2>'
    return f'<section aria-labelledby="{section.name}">\n{heading}\n{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Card():
            return _card(block)
        case Fold(title, blocks):
            inner = "\n".join(_inner(one) for one in blocks)
            return f'<details class="fold"><summary>{html.escape(title)}</summary>\n{inner}\n</details>'
        case _:
            return _inner(block)


def _inner(block: Inner) -> str:
    match block:
        case Paragraph(text):
            return f'<p class="note">{_sentence(text)}</p>'
        case Bullets(items):
            return _list("sentences", (_sentence(item) for item in items))
        case Answers(items):
            pairs = (f"<div><dt>{_sentence(asked)}</dt><dd>{_sentence(answer)}</dd></div>" for asked, answer in items)
            return '<dl class="answers">\n' + "\n".join(pairs) + "\n</dl>"
        case Links(items):
            return _list("links", (_link(text, path) for text, path in items))
        case Table():
            return _table(block)
        case FigureBlock():
            return _figure(block)


def _list(kind: str, items: Iterable[str]) -> str:
    lines = "\n".join(f"<li>{item}</li>" for item in items)
    return f'<ul class="{kind}">\n{lines}\n</ul>'


def _card(card: Card) -> str:
    pairs = ((html.escape(what), _sentence(value)) for what, value in card.facts)
    facts = "".join(f"<div><dt>{what}</dt><dd>{value}</dd></div>" for what, value in pairs)
    return (
        f'<div class="card">\n<p class="label">{html.escape(card.label)}</p>\n'
        f'<p class="title">{html.escape(card.title)}</p>\n<p>{_sentence(card.text)}</p>\n'
        + (f"<dl>{facts}</dl>\n" if facts else "")
        + "</div>"
    )


def _table(table: Table) -> str:
    header = "".join(
        f'<th scope="col"{_attribute(_column_class(table, index))}>{html.escape(name)}</th>'
        for index, name in enumerate(table.columns)
    )
    body = "\n".join(_row(table, row) for row in table.rows)
    caption = html.escape(table.caption)
    kind = "numeric" if table.numeric else "words-table"
    sortable = " sortable" if table.sortable and len(table.rows) > 1 else ""
    return (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">\n'
        f'<table class="{kind}{sortable}">\n<caption>{caption}</caption>\n'
        f"<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _row(table: Table, row: tuple[Cell, ...]) -> str:
    name, *others = row
    text = cell_text(name)
    head = _link(text, table.links[text]) if text in table.links else html.escape(text)
    cells = "".join(
        f"<td{_attribute(_cell_class(table, cell))}{_key(cell)}>{_sentence(cell_text(cell))}</td>" for cell in others
    )
    return f'<tr><th scope="row"{_key(name)}>{head}</th>{cells}</tr>'


def _key(cell: Cell) -> str:
    return "" if isinstance(cell, str) else f' data-key="{cell.key:.12g}"'


def _cell_class(table: Table, cell: Cell) -> str:
    """Return how a cell is set that needs room to wrap: words among numbers, and long ones among words."""
    text = cell_text(cell)
    if not table.numeric:
        return "words" if len(text) > _LONG_WORDS else ""
    if len(text) <= _LONG_NUMBER or re.match(r"[−+\d]", text) or not isinstance(cell, str):
        return ""
    return "words" if len(text) <= _SENTENCE else "words long"


def _column_class(table: Table, index: int) -> str:
    """Return how the head of a column is set: as the longest of its words."""
    return max((_cell_class(table, row[index]) for row in table.rows), default="")


def _attribute(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _figure(block: FigureBlock) -> str:
    label, caption = html.escape(block.alternative), _sentence(block.caption)
    return (
        f'<figure>\n<div class="picture" role="img" aria-label="{label}" tabindex="0">\n'
        f"{inline_svg(block.svg, prefix=block.name)}\n</div>\n<figcaption>{caption}</figcaption>\n</figure>"
    )


def inline_svg(svg: str, *, prefix: str) -> str:
    """Return SVG text that can stand in a page beside others: no prolog, no namespaces, names of its own.

    Args:
        svg: a whole SVG file.
        prefix: put before every id, so that two figures never share one.

    Example:
        >>> inline_svg('<?xml version="1.0"?><svg xmlns="a:b"><g id="x"/></svg>', prefix="size")
        '<svg><g id="size-x"/></svg>'
    """
    bare = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Only within tags: a class may be called url(#x).
    return re.sub(r"<[^>]*>", lambda tag: _own_names(tag.group(), prefix), bare).strip()


def _own_names(tag: str, prefix: str) -> str:
    tag = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", tag)
    tag = re.sub(r'(?<=\sid=")', f"{prefix}-", tag)
    return re.sub(r'xlink:href="#|href="#', f'href="#{prefix}-', tag).replace("url(#", f"url(#{prefix}-")
