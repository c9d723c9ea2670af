"""A report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from importlib import resources

from distilora.report.blocks import Block, Bullets, Document, FigureBlock, Paragraph, Section, Table

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<p class="lead">{lead}</p>
<nav aria-label="Contents"><ul>
{contents}
</ul></nav>
</header>
{sections}
</main>
</body>
</html>
"""


def to_html(document: Document, figures: Mapping[str, str]) -> str:
    """Return a document as a whole page.

    Args:
        document: what it says; every text of it is escaped here.
        figures: SVG text by the name of the figure, as ``report.plots`` draws it.
    """
    style = resources.files("distilora.report").joinpath("report.css").read_text(encoding="utf-8")
    contents = (f'<li><a href="#{s.name}">{html.escape(s.title)}</a></li>' for s in document.sections)
    return _PAGE.format(
        title=html.escape(document.title),
        lead=html.escape(document.lead),
        style=style,
        contents="\n".join(contents),
        sections="\n".join(_section(section, figures) for section in document.sections),
    )


def _section(section: Section, figures: Mapping[str, str]) -> str:
    blocks = "\n".join(_block(block, figures) for block in section.blocks)
    heading = f'<h2 id="{section.name}">{html.escape(section.title)}</h2>'
    return f'<section aria-labelledby="{section.name}">\n{heading}\n{blocks}\n</section>'


def _block(block: Block, figures: Mapping[str, str]) -> str:
    match block:
        case Paragraph(text):
            return f'<p class="note">{html.escape(text)}</p>'
        case Bullets(items):
            lines = "\n".join(f"<li>{html.escape(item)}</li>" for item in items)
            return f'<ul class="sentences">\n{lines}\n</ul>'
        case Table():
            return _table(block)
        case FigureBlock():
            return _figure(block, figures[block.name])


def _table(table: Table) -> str:
    header = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    body = "\n".join(_row(table, row) for row in table.rows)
    caption = html.escape(table.caption)
    return (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">\n'
        f'<table class="{"numeric" if table.numeric else "words-table"}">\n<caption>{caption}</caption>\n'
        f"<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _row(table: Table, row: tuple[str, ...]) -> str:
    cells = "".join(f"<td{_cell_class(table, cell)}>{html.escape(cell)}</td>" for cell in row[1:])
    return f'<tr><th scope="row">{html.escape(row[0])}</th>{cells}</tr>'


def _cell_class(table: Table, cell: str) -> str:
    """Tell cells that need room to wrap: words among numbers, and long ones among words."""
    is_sentence = len(cell) > 8 and not re.match(r"[−+\d]", cell) if table.numeric else len(cell) > 30
    return ' class="words"' if is_sentence else ""


def _figure(block: FigureBlock, svg: str) -> str:
    label, caption = html.escape(block.alternative), html.escape(block.caption)
    return (
        f'<figure>\n<div class="card" role="img" aria-label="{label}" tabindex="0">\n'
        f"{inline_svg(svg, prefix=block.name)}\n</div>\n<figcaption>{caption}</figcaption>\n</figure>"
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
