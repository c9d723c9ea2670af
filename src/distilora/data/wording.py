"""An inspection in plain words, for a terminal."""

from __future__ import annotations

from distilora.data.faults import fault_line, shown
from distilora.data.inspection import Inspection, LengthSummary

_SHOWN_CONFLICTS = 20


def describe(inspection: Inspection) -> str:
    """Return all that ``distilora data`` tells of a source, every fault with its row, ready to print."""
    return "\n".join(
        [
            *inspection.notes,
            f"{inspection.source}: {inspection.rows:,} rows, {inspection.usable_rows:,} of them usable",
            *_classes(inspection),
            *_parts(inspection),
            *_lengths(inspection),
            *_duplicates(inspection),
            *_faults(inspection),
        ]
    )


def _classes(inspection: Inspection) -> list[str]:
    width = max((len(shown(one.name)) for one in inspection.classes), default=0)
    return [
        f"  {shown(one.name):<{width}}  {one.rows:>9,} rows  {one.share:6.1%}{'  counts as hateful' * one.positive}"
        for one in inspection.classes
    ]


def _parts(inspection: Inspection) -> list[str]:
    if inspection.parts is None:
        return []
    parts = ", ".join(f"{rows:,} {part}" for part, rows in inspection.parts.items())
    return [f"own split: {parts}; {inspection.repeated_across_parts:,} rows repeat a text of a later part"]


def _lengths(inspection: Inspection) -> list[str]:
    lines = [_length(summary) for summary in (inspection.words, inspection.tokens) if summary is not None]
    if inspection.truncated_share is not None:
        lines.append(f"longer than {inspection.max_length} tokens, and so cut: {inspection.truncated_share:.2%}")
    return lines


def _length(summary: LengthSummary) -> str:
    return (
        f"{summary.unit}: median {summary.median:g}, mean {summary.mean:.1f}, "
        f"95th percentile {summary.percentile_95:,}, longest {summary.longest:,}"
    )


def _duplicates(inspection: Inspection) -> list[str]:
    lines = [f"duplicates: {inspection.duplicate_rows:,} rows repeat one of {inspection.duplicate_groups:,} texts"]
    lines.append(f"duplicates with conflicting labels: {len(inspection.conflicts):,} texts")
    for conflict in inspection.conflicts[:_SHOWN_CONFLICTS]:
        places = ", ".join(
            f"row {row} {shown(label)}" for row, label in zip(conflict.rows, conflict.labels, strict=True)
        )
        lines.append(f"  {places}")
    if len(inspection.conflicts) > _SHOWN_CONFLICTS:
        lines.append(f"  and {len(inspection.conflicts) - _SHOWN_CONFLICTS:,} more; --json lists them all")
    return lines


def _faults(inspection: Inspection) -> list[str]:
    if not inspection.faults:
        return ["faults: none"]
    lines = [fault_line(inspection.source, fault) for fault in inspection.faults]
    return [f"faults: {len(lines):,}", *(f"  {line}" for line in lines)]
