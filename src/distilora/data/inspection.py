"""What is in a source of comments, and what is wrong with it, as one record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from distilora.config import DataSettings
from distilora.data.duplicates import number_groups
from distilora.data.records import PARTS, Comments, Fault, Part
from distilora.data.sources import one_class_problem, scan_comments
from distilora.data.splits import repeated_rows, too_small_problem

Encode = Callable[[Sequence[str]], Sequence[int]]
"""Gives the length of each text in tokens, special tokens counted, before anything is cut."""
_BARS = 40


class _Record(BaseModel):
    """A frozen record that can be written as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassShare(_Record):
    """One class: its rows, and its share of all usable rows from 0 to 1."""

    name: str
    rows: int
    share: float
    positive: bool
    """Whether it counts as hateful."""


class LengthSummary(_Record):
    """Lengths of the usable texts, in ``unit``."""

    unit: Literal["words", "tokens"]
    mean: float
    median: float
    percentile_95: float
    longest: int


class LengthHistogram(_Record):
    """How many texts of each class are how long."""

    unit: Literal["words", "tokens"]
    edges: tuple[int, ...]
    """Bar i holds lengths from edge i to below edge i + 1; the last bar also all longer texts."""
    counts: dict[str, tuple[int, ...]]
    """Rows in each bar by class, in the order of the label names."""
    max_length: int | None
    """Longest input in the same unit; absent where lengths are in words."""


class Conflict(_Record):
    """Rows with one text (case and white space folded) and different labels."""

    rows: tuple[int, ...]
    labels: tuple[str, ...]
    """One label a row."""


class Inspection(_Record):
    """All that ``distilora data`` tells of a source."""

    source: str
    sha256: str
    """Hash of the usable rows."""
    rows: int
    usable_rows: int
    classes: tuple[ClassShare, ...]
    parts: dict[Part, int] | None
    """Usable rows by part of the source's own split; absent where it has none."""
    repeated_across_parts: int | None
    """Rows whose text a later part has too; a split leaves them out. Absent without an own split."""
    words: LengthSummary | None
    """Absent where no row can be used."""
    tokens: LengthSummary | None
    """Absent where tokens were not counted."""
    max_length: int
    """Longest input in tokens."""
    truncated_share: float | None
    """Share of the usable texts with more than ``max_length`` tokens, from 0 to 1."""
    duplicate_rows: int
    """Usable rows that repeat the text of an earlier one, case and white space folded."""
    duplicate_groups: int
    """Texts that more than one row has."""
    conflicts: tuple[Conflict, ...]
    """Duplicates whose labels differ."""
    histogram: LengthHistogram | None
    """In tokens where they were counted, else in words; absent where no row can be used."""
    faults: tuple[Fault, ...]
    """What is wrong: with the whole source first, then row by row."""
    notes: tuple[str, ...]


def inspect_comments(settings: DataSettings, *, encode: Encode | None = None, max_length: int = 128) -> Inspection:
    """Return what is in a source and what is wrong with it, whatever that is.

    Faulty rows, one class alone or a class too small to split are told in ``faults``, never raised.

    Args:
        settings: ``source``, columns, ``label_names`` and ``positive`` count.
        encode: counts tokens; absent: only words are counted.
        max_length: longest input, in tokens.

    Raises:
        DataError: the source or a column cannot be used.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: Parquet without pyarrow, or the hub without ``datasets``.

    Example:
        >>> [one.name for one in inspect_comments(DataSettings(source="sample")).classes]
        ['not toxic', 'toxic']
    """
    comments = scan_comments(settings)
    words = np.fromiter((len(text.split()) for text in comments.texts), np.int64, len(comments))
    tokens = None if encode is None else np.asarray(encode(comments.texts), dtype=np.int64)
    groups = number_groups(comments.texts)
    sizes = np.bincount(groups) if len(groups) else np.zeros(0, dtype=np.int64)
    return Inspection(
        source=comments.source,
        sha256=comments.sha256,
        rows=len(comments) + len(comments.faults),
        usable_rows=len(comments),
        classes=_class_shares(comments),
        parts=None if comments.parts is None else {part: comments.parts.count(part) for part in PARTS},
        repeated_across_parts=None if comments.parts is None else len(repeated_rows(comments)),
        words=_summary(words, unit="words"),
        tokens=None if tokens is None else _summary(tokens, unit="tokens"),
        max_length=max_length,
        truncated_share=float(np.mean(tokens > max_length)) if tokens is not None and len(tokens) else None,
        duplicate_rows=len(groups) - len(sizes),
        duplicate_groups=int(np.sum(sizes > 1)),
        conflicts=_conflicts(comments, groups),
        histogram=_histogram(comments, words=words, tokens=tokens, max_length=max_length),
        faults=(*_source_faults(comments), *comments.faults),
        notes=comments.notes,
    )


def _class_shares(comments: Comments) -> tuple[ClassShare, ...]:
    counts = np.bincount(comments.labels, minlength=len(comments.label_names)).tolist()
    return tuple(
        ClassShare(name=name, rows=count, share=count / len(comments), positive=name in comments.positive)
        for name, count in zip(comments.label_names, counts, strict=True)
    )


def _source_faults(comments: Comments) -> list[Fault]:
    """Return what would keep the usable rows from being trained on."""
    if not len(comments):
        return [Fault(None, "no row can be used")]
    one_class = one_class_problem(comments)
    too_small = None if comments.parts is not None else too_small_problem(comments)
    return [Fault(None, problem) for problem in (one_class, too_small) if problem]


def _summary(lengths: NDArray[np.int64], *, unit: Literal["words", "tokens"]) -> LengthSummary | None:
    if not len(lengths):
        return None
    return LengthSummary(
        unit=unit,
        mean=float(lengths.mean()),
        median=float(np.median(lengths)),
        percentile_95=float(np.percentile(lengths, 95)),
        longest=int(lengths.max()),
    )


def _conflicts(comments: Comments, groups: NDArray[np.int64]) -> tuple[Conflict, ...]:
    """Return the groups with more than one label, in the order of their first rows."""
    if not len(groups):
        return ()
    pairs = np.unique(np.stack([groups, comments.labels]), axis=1)
    conflicting = np.bincount(pairs[0]) > 1  # (groups,)
    members: dict[int, list[int]] = {}
    for position in np.flatnonzero(conflicting[groups]).tolist():
        members.setdefault(int(groups[position]), []).append(position)
    return tuple(
        Conflict(
            rows=tuple(comments.row_numbers[positions].tolist()),
            labels=tuple(comments.label_names[code] for code in comments.labels[positions].tolist()),
        )
        for positions in members.values()
    )


def _histogram(
    comments: Comments, *, words: NDArray[np.int64], tokens: NDArray[np.int64] | None, max_length: int
) -> LengthHistogram | None:
    if not len(comments):
        return None
    lengths = words if tokens is None else tokens
    edges = _edges(lengths, max_length=None if tokens is None else max_length)
    bars = np.minimum(np.searchsorted(edges, lengths, side="right") - 1, len(edges) - 2)
    counts = np.zeros((len(comments.label_names), len(edges) - 1), dtype=np.int64)
    np.add.at(counts, (comments.labels, bars), 1)
    return LengthHistogram(
        unit="words" if tokens is None else "tokens",
        edges=tuple(edges.tolist()),
        counts=dict(zip(comments.label_names, map(tuple, counts.tolist()), strict=True)),
        max_length=None if tokens is None else max_length,
    )


def _edges(lengths: NDArray[np.int64], *, max_length: int | None) -> NDArray[np.int64]:
    """Return edges of at most about 40 equal bars up to the 99th percentile, and to ``max_length`` if it is near."""
    upper = float(np.percentile(lengths, 99)) + 1
    if max_length is not None and max_length < 4 * upper:
        upper = max(upper, 1.1 * max_length)
    width = max(1, int(np.ceil(upper / _BARS)))
    return np.arange(0, upper + width, width).astype(np.int64)
