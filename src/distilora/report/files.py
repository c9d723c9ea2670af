"""The files of a report: put into words and written whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from distilora.files import write_whole
from distilora.layout import DISAGREEMENTS_FILE, LABEL_ERRORS_FILE, REPORT_FILE
from distilora.report.blocks import Block, Document, FigureBlock, Fold, Section
from distilora.report.document import build_document
from distilora.report.errors_csv import error_files
from distilora.report.evidence import Evidence
from distilora.report.html import to_html
from distilora.report.markdown import to_markdown
from distilora.report.pages import method_documents
from distilora.report.records import Comparison
from distilora.report.tables import to_csv
from distilora.runs import RunRecord

COMPARISON_FILE = "comparison.json"
_ON_PAGES = ("curves", "adapting", "events")
"""The sections of methods' pages that Markdown, which has no such pages, shows too."""


def write_report(
    comparison: Comparison, records: Sequence[RunRecord], folder: Path, *, evidence: Evidence | None = None
) -> Path:
    """Write the report, a page for each method, every figure and all numbers; return the path of ``report.html``.

    * ``report.html`` and ``METHOD/report.html``, which need no other file;
    * ``report.md`` with ``figures/*.svg``;
    * ``results.csv``: the scores of each run; ``comparison.json``: the whole comparison;
    * ``METHOD/seed-N/model/README.md``: the card of each trained model;
    * ``METHOD/disagreements.csv`` and ``label-errors.csv``: all doubtful rows, where comments may be shown.

    The same records give the same bytes. A reader never sees half a file, and ``report.html`` comes last.

    Args:
        comparison: of these runs.
        records: the finished runs of one experiment, void ones included.
        folder: of the experiment; made where it is missing. What an earlier report left and this one has not is
            removed.
        evidence: what the comparison was made from beside the runs.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from distilora.report.cards import write_cards  # huggingface_hub comes with [train], as matplotlib does

    report, pages = build_document(comparison, records), method_documents(comparison, records)
    _write_figures(drawn_figures(report, *pages.values()), folder / "figures")
    _write_error_files(error_files(comparison, records, evidence), folder)
    write_whole(folder / "results.csv", to_csv(records))
    write_whole(folder / COMPARISON_FILE, comparison.model_dump_json(indent=1) + "\n")
    write_whole(folder / "report.md", to_markdown(_with_pages(report, pages)))
    _write_pages(pages, folder)
    write_cards(comparison, records, folder)
    path = folder / REPORT_FILE
    write_whole(path, to_html(report))
    return path


def drawn_figures(*documents: Document) -> dict[str, str]:
    """Return the SVG text of every figure of these documents, by name.

    Raises:
        ValueError: two figures share a name.
    """
    figures: dict[str, str] = {}
    blocks = (block for document in documents for section in document.sections for block in section.blocks)
    for block in _figures(blocks):
        if block.name in figures:
            raise ValueError(f"two figures are called {block.name}")
        figures[block.name] = block.svg
    return figures


def _figures(blocks: Iterable[Block]) -> Iterator[FigureBlock]:
    for block in blocks:
        if isinstance(block, FigureBlock):
            yield block
        elif isinstance(block, Fold):
            yield from _figures(block.blocks)


def _write_figures(figures: Mapping[str, str], folder: Path) -> None:
    for name, svg in figures.items():
        write_whole(folder / f"{name}.svg", svg)
    for old in folder.glob("*.svg"):
        if old.stem not in figures:
            old.unlink()


def _write_pages(pages: Mapping[str, Document], folder: Path) -> None:
    for old in folder.glob(f"*/{REPORT_FILE}"):
        if old.parent.name not in pages and _is_page(old):
            old.unlink()
    for method, page in pages.items():
        write_whole(folder / method / REPORT_FILE, to_html(page))


def _is_page(path: Path) -> bool:
    """Return whether a file is the page of a method: it leads back, as the report of another experiment does not."""
    return path.is_file() and f'href="../{REPORT_FILE}"'.encode() in path.read_bytes()


def _write_error_files(files: Mapping[str, str], folder: Path) -> None:
    for old in (folder / LABEL_ERRORS_FILE, *folder.glob(f"*/{DISAGREEMENTS_FILE}")):
        if old.relative_to(folder).as_posix() not in files:
            old.unlink(missing_ok=True)
    for path, content in files.items():
        write_whole(folder / path, content)


def _with_pages(report: Document, pages: Mapping[str, Document]) -> Document:
    """Return the report with what stands on the methods' pages alone and tells of their training."""
    found = [section for page in pages.values() for section in page.sections]
    gathered = (_gathered([section for section in found if section.name == name]) for name in _ON_PAGES)
    return replace(report, sections=(*report.sections, *(section for section in gathered if section)))


def _gathered(sections: Sequence[Section]) -> Section | None:
    """Return sections of one name as one."""
    if not sections:
        return None
    return replace(sections[0], blocks=tuple(block for section in sections for block in section.blocks))
