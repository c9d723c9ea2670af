"""Rows of each kind of source: labelled comments, HateCheck's cases, comments with the identities they mention."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distilora.assess.cells import name_in, read_entries, require_columns
from distilora.config import DataSettings
from distilora.data.columns import choose_columns
from distilora.data.faults import fault_line, listed, refuse_faults, shown, text_problem
from distilora.data.gathering import hash_comments
from distilora.data.labels import name_labels, written_label
from distilora.data.records import Comments
from distilora.data.sources import opened_table, scan_comments
from distilora.data.tables import Table
from distilora.errors import DataError, HubError
from distilora.evaluation.suites.hatecheck import HateCheckCases

HATECHECK_HUB_ID = "Paul/hatecheck"
_HATECHECK_HOME = "https://github.com/paul-rottger/hatecheck-data"
GROUP_SEPARATOR = ";"
"""Stands between the groups of a row that mentions several."""
_HATECHECK_COLUMNS = ("functionality", "test_case", "label_gold", "target_ident")
_HATECHECK_LABELS = ("hateful", "non-hateful")
_GROUP_NAMES = ("group", "groups", "identity", "identities", "identity_group", "target_group", "target_ident", "target")


@dataclass(frozen=True, eq=False)
class HateCheckSource:
    """HateCheck's cases with their texts."""

    texts: tuple[str, ...]
    cases: HateCheckCases
    sha256: str
    """Of texts and labels."""
    groups_sha256: str
    """Of which case is of which functional test and target group."""


@dataclass(frozen=True, eq=False)
class IdentitySource:
    """Comments with the groups that they mention."""

    texts: tuple[str, ...]
    labels: NDArray[np.int64]
    """Index into ``label_names``, shape (rows,)."""
    label_names: tuple[str, ...]
    groups: Mapping[str, NDArray[np.bool_]]
    """Which rows mention each group, shape (rows,)."""
    sha256: str
    """Of texts and labels."""
    groups_sha256: str
    """Of which row mentions which groups."""
    notes: tuple[str, ...]


def read_labelled(settings: DataSettings) -> Comments:
    """Return labelled comments, be they all of one class.

    Raises:
        DataError: the source, a column or a row cannot be used.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: a source that needs libraries that are not installed.
    """
    comments = scan_comments(settings)
    if settings.faults == "refuse":
        refuse_faults(comments)
    if not len(comments):
        raise DataError(f"{fault_line(comments.source, comments.faults[0])}; no row can be used")
    return comments


def read_hatecheck(source: str) -> HateCheckSource:
    """Return HateCheck's cases from a file with its published columns, or from the hub.

    Args:
        source: a file, or a hub id such as ``Paul/hatecheck``.

    Raises:
        DataError: a column is missing, or a row is none of HateCheck's.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: a source that needs libraries that are not installed.
    """
    try:
        with opened_table(source) as table:
            require_columns(table, _HATECHECK_COLUMNS, hint=f"HateCheck has {listed(_HATECHECK_COLUMNS)}")
            entries, _ = read_entries(table, _HATECHECK_COLUMNS, _hatecheck_entry)
    except HubError:
        raise HubError(
            f"{source}: the hub cannot be reached and HateCheck is not stored here; give its file: "
            f"test_suite_cases.csv of {_HATECHECK_HOME}"
        ) from None
    functionalities, texts, labels, targets = zip(*entries, strict=True)
    hateful = np.array([label == "hateful" for label in labels])
    return HateCheckSource(
        texts=texts,
        cases=HateCheckCases(hateful, functionalities, targets),
        sha256=hash_comments(texts, (~hateful).astype(np.int64), label_names=_HATECHECK_LABELS, parts=None),
        groups_sha256=_hash_groups(zip(functionalities, targets, strict=True)),
    )


def _hatecheck_entry(cells: Sequence[object]) -> tuple[str, str, str, str | None] | str:
    functionality, text, label, target = cells
    named, gold = name_in(functionality), (name_in(label) or "").casefold()
    if named is None:
        return "functionality is missing"
    if problem := text_problem(text):
        return problem.replace("text", "test_case", 1) if problem.startswith("text") else problem
    if gold not in _HATECHECK_LABELS:
        return f"label_gold {shown(label)} is not one of {listed(_HATECHECK_LABELS)}"
    return named, str(text), gold, name_in(target)


def read_identity(settings: DataSettings, *, group: str | None) -> IdentitySource:
    """Return comments with labels and the groups that they mention.

    Args:
        settings: source, columns, names of bare labels, and what to do about faulty rows.
        group: column of the group; absent: guessed. A row may mention several, separated by semicolons, or none.

    Raises:
        DataError: the source, a column or a row cannot be used, or no row mentions a group.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: a source that needs libraries that are not installed.
    """
    with opened_table(settings.source) as table:
        columns = choose_columns(table, text=settings.text, label=settings.label)
        group_column, note = _group_column(table, group, taken=(columns.text, columns.label))
        entries, faults = read_entries(
            table, (columns.text, columns.label, group_column), _identity_entry, skip=settings.faults == "skip"
        )
    texts, written, mentioned = zip(*entries, strict=True)
    codes = name_labels(list(dict.fromkeys(written)), given=settings.label_names)
    if codes.problems:
        label, problem = next(iter(codes.problems.items()))
        raise DataError(f"{table.source}: {problem}; {written.count(label):,} rows have it")
    labels = np.array([codes.codes[label] for label in written], dtype=np.int64)
    names = sorted({name for row in mentioned for name in row})
    if not names:
        raise DataError(
            f'{table.source}: no row of column "{group_column}" mentions a group; name another with --group'
        )
    skipped = (f"rows left out because they cannot be used: {len(faults):,}",) if faults else ()
    return IdentitySource(
        texts=texts,
        labels=labels,
        label_names=codes.names,
        groups={name: np.array([name in row for row in mentioned]) for name in names},
        sha256=hash_comments(texts, labels, label_names=codes.names, parts=None),
        groups_sha256=_hash_groups(map(sorted, mentioned)),
        notes=(*columns.notes, *note, *skipped),
    )


def _identity_entry(cells: Sequence[object]) -> tuple[str, str, frozenset[str]] | str:
    text, label, group = cells
    written = written_label(label)
    if problem := text_problem(text):
        return problem
    if written is None:
        return "label is missing"
    parts = (name_in(part) for part in (name_in(group) or "").split(GROUP_SEPARATOR))
    return str(text), written, frozenset(part for part in parts if part)


def _hash_groups(rows: Iterable[Sequence[str | None]]) -> str:
    """Return the SHA-256 of the groups of all rows, in hexadecimal."""
    digest = hashlib.sha256(b"distilora groups 1\n")
    for names in rows:
        digest.update(json.dumps(list(names)).encode() + b"\n")
    return digest.hexdigest()


def _group_column(table: Table, group: str | None, *, taken: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the column of the group, and what to say where it was guessed."""
    if group is not None:
        require_columns(table, [group], hint="name one with --group")
        return group, ()
    found = [name for name in table.columns if name.casefold() in _GROUP_NAMES and name not in taken]
    if len(found) != 1:
        what = f"the group could be any of {listed(found)}" if found else "no column looks like the group"
        raise DataError(f"{table.source}: {what}; name one with --group (columns: {listed(table.columns)})")
    return found[0], (f'group is taken from column "{found[0]}"',)
