"""From the rows of a table to labelled comments: what can be used, what cannot, and what the classes are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distilora.data.columns import Columns
from distilora.data.faults import listed, nearest, printable, shown, text_problem
from distilora.data.hub import PART_NAMES
from distilora.data.labels import MAX_CLASSES, LabelCodes, name_labels, written_label
from distilora.data.records import PARTS, Comments, Fault, Part
from distilora.data.tables import Row, Table
from distilora.errors import DataError


@dataclass(frozen=True)
class Classes:
    """What is known about the classes before a row is read."""

    names: Mapping[str, str]
    """Name by bare label; empty: as the source says."""
    positive: tuple[str, ...] = ()
    """Classes that the user counts as hateful."""
    usually_positive: tuple[str, ...] = ()
    """Those that count where the user said nothing."""


@dataclass
class _Cells:
    """What was read: usable texts with labels as written, and the faults so far."""

    texts: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    parts: list[object] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    places: dict[int, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def gather(table: Table, *, columns: Columns, classes: Classes) -> Comments:
    """Return all comments of a table that can be used, with a fault for every other row.

    Args:
        table: the source, read once.
        columns: which columns hold text and label.
        classes: names of bare labels, and classes that count as hateful.

    Raises:
        DataError: there is no row, the label column has more than a thousand values, or a positive class is none of
            the classes.
    """
    cells = _collect(table, columns)
    codes = _named(cells, columns, table=table, given=classes.names)
    kept, faults = _usable(cells, codes)
    texts = tuple(cells.texts[index] for index in kept)
    labels = np.array([codes.codes[cells.written[index]] for index in kept], dtype=np.int64)
    parts, part_notes = _own_parts([cells.parts[index] for index in kept] if cells.parts else [])
    return Comments(
        source=table.source,
        texts=texts,
        labels=labels,
        label_names=codes.names,
        positive=_positive(classes, codes=codes, source=table.source),
        row_numbers=np.array([cells.numbers[index] for index in kept], dtype=np.int64),
        parts=parts,
        sha256=hash_comments(texts, labels, label_names=codes.names, parts=parts),
        faults=tuple(sorted([*cells.faults, *faults], key=lambda fault: fault.row or 0)),
        notes=(*columns.notes, *table.notes, *part_notes, *_label_notes(codes)),
    )


def _collect(table: Table, columns: Columns) -> _Cells:
    wanted = [columns.text, columns.label]
    if table.part_column is not None and table.part_column not in wanted:
        wanted.append(table.part_column)
    cells = _Cells()
    for number, row in enumerate(table.rows(wanted), start=1):
        _take(row, number=number, cells=cells)
    if not cells.numbers and not cells.faults:
        raise DataError(f"{table.source}: there is a header but no row; add one row for each comment")
    return cells


def _take(row: Row, *, number: int, cells: _Cells) -> None:
    """Put one row to the usable cells or to the faults."""
    problem, written = row.problem, None
    if problem is None:
        problem = text_problem(row.values[0])
        written = written_label(row.values[1])
        if problem is None and written is None:
            problem = "label is missing"
    if problem is not None or written is None:
        cells.faults.append(_fault(number, str(problem), row.place))
        return
    cells.texts.append(str(row.values[0]))
    cells.written.append(written)
    cells.parts.extend(row.values[2:])
    cells.numbers.append(number)
    if row.place:
        cells.places[number] = row.place


def _fault(number: int, problem: str, place: str) -> Fault:
    return Fault(number, f"{problem} ({place})" if place else problem)


def _named(cells: _Cells, columns: Columns, *, table: Table, given: Mapping[str, str]) -> LabelCodes:
    """Return the meaning of each different label: by the user's names, else by the source's own."""
    different = dict.fromkeys(cells.written)
    own = {str(code): name for code, name in enumerate(table.class_names.get(columns.label, ()))}
    codes = name_labels(list(different), given=given or own)
    if len(codes.names) > MAX_CLASSES:
        raise DataError(
            f'{table.source}: column "{printable(columns.label)}" has {len(codes.names):,} different values in '
            f"{len(cells.texts):,} rows, allowed are {MAX_CLASSES:,}; name the label with --label "
            f"(columns: {listed(table.columns)})"
        )
    return codes


def _usable(cells: _Cells, codes: LabelCodes) -> tuple[list[int], list[Fault]]:
    """Return positions of the rows whose label is known, and a fault for each other one."""
    kept: list[int] = []
    faults: list[Fault] = []
    for index, (written, number) in enumerate(zip(cells.written, cells.numbers, strict=True)):
        problem = codes.problems.get(written)
        if problem is None:
            kept.append(index)
        else:
            faults.append(_fault(number, problem, cells.places.get(number, "")))
    return kept, faults


def _label_notes(codes: LabelCodes) -> list[str]:
    notes = [f"no row has the label {shown(name)}" for name in codes.unused]
    if codes.names and all(name.lstrip("-").isdigit() for name in codes.names):
        example = ",".join(f"{name}=…" for name in codes.names[:2])
        notes.append(f"labels are bare numbers; name them with --label-names {example}")
    return notes


def _positive(classes: Classes, *, codes: LabelCodes, source: str) -> tuple[str, ...]:
    """Return the classes that count as hateful, in the order of the label names."""
    if not classes.positive:
        return tuple(name for name in codes.names if name in classes.usually_positive)
    allowed = (*codes.names, *codes.unused)
    for name in classes.positive:
        if name not in allowed:
            raise DataError(
                f"{source}: --positive {shown(name)} is not a class{nearest(name, allowed)}; "
                f"classes are {listed(allowed)}"
            )
    return tuple(name for name in codes.names if name in classes.positive)


def _own_parts(values: Sequence[object]) -> tuple[tuple[Part, ...] | None, list[str]]:
    """Return the source's own part of each row, if its split can be used, and what to say about it."""
    if not values:
        return None, []
    names = {value: PART_NAMES.get(str(value).casefold()) for value in set(map(_hashable, values))}
    strange = [value for value, name in names.items() if name is None]
    if strange:
        allowed = ", ".join(PARTS)
        return None, [f'column "split" is not used: it holds {shown(strange[0])}, which is not one of {allowed}']
    by_name: dict[str, Part] = {part: part for part in PARTS}
    parts = tuple(by_name[name] for value in values if (name := names[_hashable(value)]) is not None)
    present = [part for part in PARTS if part in parts]
    if present == ["train"]:
        return None, []
    if "train" not in present:
        return None, [f"the source's own split is not used: it has {' and '.join(present)} but no train"]
    return parts, [f"the source's own split is used: {', '.join(f'{parts.count(part):,} {part}' for part in present)}"]


def _hashable(value: object) -> object:
    return value if isinstance(value, str) else repr(value)


def hash_comments(
    texts: Sequence[str], labels: NDArray[np.int64], *, label_names: Sequence[str], parts: Sequence[Part] | None
) -> str:
    """Return the SHA-256 of comments in hexadecimal: equal hashes mean equal data in equal order.

    Each sequence is preceded by its length and each string by its length in bytes, so that no two data sets are
    written alike.

    Args:
        texts: one text a row.
        labels: index into ``label_names`` for each row, shape (rows,).
        label_names: names of the classes.
        parts: one part a row; absent where the source has no split.
    """
    digest = hashlib.sha256(b"distilora comments 1\n")
    for strings in (texts, label_names, parts or ()):
        digest.update(len(strings).to_bytes(8, "little"))
        for string in strings:
            data = string.encode("utf-8")
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()
