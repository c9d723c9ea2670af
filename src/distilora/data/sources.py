"""Labelled comments from the built-in sample, a file, or a data set of the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Literal

from distilora.config import DataSettings
from distilora.data.columns import choose_columns
from distilora.data.delimited import open_delimited
from distilora.data.faults import fault_line, nearest, refuse_faults, shown
from distilora.data.gathering import Classes, gather
from distilora.data.hub import NAMED_SOURCES, HubSource, open_hub
from distilora.data.opening import SUFFIXES, open_file
from distilora.data.records import Comments
from distilora.data.tables import Table
from distilora.errors import DataError

_OTHER_FILES = (".txt", ".json", ".xls", ".xlsx", ".xml", ".gz", ".zip", ".bz2", ".zst", ".pkl", ".arrow", ".feather")
_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?::(?P<config>[^/:]+))?")
_BUILT_IN = ("sample", "sample-identities")
"""Tables that come with distilora."""
_SAMPLE = HubSource("", text="text", label="label", positive=("toxic",))


def read_comments(  # noqa: PLR0913 - the public door: each argument is one key of [data]
    source: str,
    *,
    text: str | None = None,
    label: str | None = None,
    label_names: Mapping[str, str] | None = None,
    positive: Sequence[str] = (),
    faults: Literal["refuse", "skip"] = "refuse",
) -> Comments:
    """Return the labelled comments of a source, in its order.

    Args:
        source: ``sample``, ``davidson``, ``wiki_toxic``, ``hate_speech``, a CSV, TSV, JSONL or Parquet file, or a hub
            id such as ``owner/name`` or ``owner/name:config``.
        text: column of the text; absent: guessed where there is one good guess, and said in ``notes``.
        label: column of the label; absent: guessed likewise.
        label_names: names for bare labels, such as ``{"0": "civil", "1": "toxic"}``; other labels are then faults.
        positive: classes that count as hateful; empty: as the data set itself says.
        faults: ``refuse`` raises if any row cannot be used; ``skip`` leaves such rows out and tells them in ``faults``.

    Raises:
        DataError: the source, a column or a row cannot be used, or all comments are of one class.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: Parquet without pyarrow, or the hub without ``datasets``.

    Example:
        >>> comments = read_comments("sample")
        >>> comments.label_names, comments.positive
        (('not toxic', 'toxic'), ('toxic',))
    """
    settings = DataSettings(
        source=source,
        text=text,
        label=label,
        label_names=dict(label_names or {}),
        positive=tuple(positive),
        faults=faults,
    )
    return read_from_settings(settings)


def read_from_settings(settings: DataSettings) -> Comments:
    """Return the comments that ``[data]`` asks for; see :func:`read_comments`."""
    comments = scan_comments(settings)
    if settings.faults == "refuse":
        refuse_faults(comments)
    if not len(comments):
        raise DataError(
            f"{fault_line(comments.source, comments.faults[0])}; none of its {len(comments.faults):,} rows can be used"
        )
    problem = one_class_problem(comments)
    if problem:
        raise DataError(f"{comments.source}: {problem}")
    return comments


def scan_comments(settings: DataSettings) -> Comments:
    """Return all comments that can be used and every fault, whatever they are: for looking at a source.

    Unlike :func:`read_from_settings`, faulty rows, one class alone, or no usable row at all are no errors.

    Raises:
        DataError: the source or a column cannot be used.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: Parquet without pyarrow, or the hub without ``datasets``.
    """
    known = _SAMPLE if settings.source == "sample" else NAMED_SOURCES.get(settings.source, HubSource(""))
    classes = Classes(
        settings.label_names or known.label_names, positive=settings.positive, usually_positive=known.positive
    )
    with opened_table(settings.source) as table:
        columns = choose_columns(table, text=settings.text or known.text, label=settings.label or known.label)
        return gather(table, columns=columns, classes=classes)


def one_class_problem(comments: Comments) -> str | None:
    """Return why the classes cannot be told apart, or ``None`` if there are at least two.

    Args:
        comments: usable comments, at least one.
    """
    if len(comments.label_names) > 1:
        return None
    name = comments.label_names[0]
    return f"all {len(comments):,} comments are {shown(name)}; a classifier needs at least two classes"


@contextmanager
def opened_table(source: str) -> Iterator[Table]:
    """Give a source as a table, whose rows can be read until the context is left.

    Args:
        source: as in ``data.source``.

    Raises:
        DataError: there is no such source, or it cannot be read.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: Parquet without pyarrow, or the hub without ``datasets``.
    """
    if source in _BUILT_IN:
        with resources.as_file(resources.files("distilora.data") / f"{source}.csv") as path:
            yield open_delimited(path, source=source, delimiter=",")
    else:
        yield _open(source)


def _open(source: str) -> Table:
    suffix = Path(source).suffix.lower()
    if suffix in SUFFIXES:
        return open_file(source)
    if source in NAMED_SOURCES:
        return open_hub(NAMED_SOURCES[source], source=source)
    if suffix in _OTHER_FILES or _exists(source):
        what = "is a folder" if Path(source).is_dir() else "is not a file that can be read"
        raise DataError(f"{source}: {what}; give a file that ends in {', '.join(SUFFIXES)}")
    hub_id = _HUB_ID.fullmatch(source)
    if hub_id:
        return open_hub(HubSource(hub_id["repository"], config=hub_id["config"]), source=source)
    names = (*_BUILT_IN, *NAMED_SOURCES)
    raise DataError(
        f"{shown(source)} is no source of comments{nearest(source, names)}; allowed are {', '.join(names)}, "
        f"a hub id owner/name, or a file that ends in {', '.join(SUFFIXES)}"
    )


def _exists(source: str) -> bool:
    try:
        return Path(source).exists()
    except (OSError, ValueError):  # longer than a file name may be, or with a NUL
        return False
