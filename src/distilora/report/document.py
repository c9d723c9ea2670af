"""What a report says, in order, as plain blocks; Markdown and HTML are two ways to write the same blocks."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.report.blocks import Document, Links, Paragraph, Section
from distilora.report.records import Comparison
from distilora.report.sections.adapting import adapted_section
from distilora.report.sections.calibration import calibration_section
from distilora.report.sections.cells import method_pages
from distilora.report.sections.classes import classes_section
from distilora.report.sections.costs import costs_section
from distilora.report.sections.differences import differences_section
from distilora.report.sections.errors import errors_section
from distilora.report.sections.groups import groups_section
from distilora.report.sections.layer_search import layer_search_section
from distilora.report.sections.layers import layers_section
from distilora.report.sections.precision_recall import precision_recall_section
from distilora.report.sections.provenance import provenance_section, void_section
from distilora.report.sections.recommendation import recommendation_section
from distilora.report.sections.robustness import robustness_section
from distilora.report.sections.scores import scores_section
from distilora.report.sections.summary import summary_section
from distilora.report.wording import count, source_name
from distilora.runs import RunRecord


def build_document(comparison: Comparison, records: Sequence[RunRecord]) -> Document:
    """Return the report of a comparison; sections without anything to show are left out.

    Args:
        comparison: the numbers.
        records: the runs it was made of, for how they were made.
    """
    sections = (
        summary_section(comparison),
        recommendation_section(comparison),
        scores_section(comparison),
        differences_section(comparison),
        costs_section(comparison),
        classes_section(comparison),
        groups_section(comparison),
        calibration_section(comparison),
        precision_recall_section(comparison),
        robustness_section(comparison),
        errors_section(comparison),
        layers_section(comparison),
        layer_search_section(comparison),
        adapted_section(comparison),
        _pages_section(comparison),
        provenance_section(comparison, records),
        void_section(comparison),
    )
    return Document(
        title=f"Which small classifier for {source_name(comparison.data.source)}?",
        lead=_lead(comparison),
        sections=tuple(section for section in sections if section.blocks),
    )


def _pages_section(comparison: Comparison) -> Section:
    pages = method_pages(comparison)
    note = "Its scores seed by seed, each class, calibration, costs, the rows it gets wrong, how its training went."
    blocks = (Paragraph(note), Links(tuple(pages.items()))) if pages else ()
    return Section("pages", "A page for each method", blocks)


def _lead(comparison: Comparison) -> str:
    data, compared = comparison.data, [row for row in comparison.methods if not row.is_baseline]
    return (
        f"{len(compared)} trained {'method' if len(compared) == 1 else 'methods'} compared on "
        f"{count(data.part_rows.get('test'))} test comments of {len(data.label_names)} classes. "
        "Macro-F1 comes first, because accuracy flatters a model that only knows the largest class."
    )
