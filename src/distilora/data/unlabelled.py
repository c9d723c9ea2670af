"""Comments without labels, which a teacher labels for its students."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from distilora.config import DataSettings
from distilora.data.columns import choose_text
from distilora.data.delimited import decode_line, refuse_binary
from distilora.data.duplicates import fold_text
from distilora.data.faults import fault_line, text_problem
from distilora.data.gathering import hash_comments
from distilora.data.opening import SUFFIXES, open_file
from distilora.data.records import Fault
from distilora.data.tables import Row, Table
from distilora.errors import DataError

_LINES = ".txt"
_FLAG = "--set data.unlabelled_text"
_NO_TEXT = ("text is missing", "text is empty")


@dataclass(frozen=True)
class UnlabelledTexts:
    """Different comments without labels, in the order of their file."""

    source: str
    """The file, as the user gave it."""
    texts: tuple[str, ...]
    """At least one; no two are the same, case and white space aside."""
    sha256: str
    """Hash of the texts: equal hashes mean equal texts in equal order."""
    notes: tuple[str, ...] = ()
    """What was decided or left out, for saying aloud."""

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)


@dataclass
class _Found:
    """What the rows of a file held."""

    texts: dict[str, str] = field(default_factory=dict)
    """The first of each text, by what it is folded to."""
    faults: list[Fault] = field(default_factory=list)
    rows: int = 0
    empty: int = 0
    repeated: int = 0


def read_unlabelled(path: str, *, column: str | None, faults: Literal["refuse", "skip"] = "refuse") -> UnlabelledTexts:
    """Return the different texts of a file, whether or not labels stand beside them; empty and repeated ones fall out.

    Args:
        path: a CSV, TSV, JSON lines or Parquet file, or a ``.txt`` with one comment a line.
        column: that holds the texts; absent: guessed where there is one good guess. A ``.txt`` has none.
        faults: what to do about rows that cannot be used, empty ones aside: ``refuse`` raises, ``skip`` leaves them
            out.

    Returns:
        What was guessed, and how many rows fell out and why, stands in ``notes``.

    Raises:
        DataError: the file, the column or a row cannot be used, or no text is left.
        MissingExtraError: Parquet without pyarrow.
    """
    table = _open(path)
    if column is not None and _is_lines(path):
        raise DataError(f"{path}: a {_LINES} file has one comment a line and no columns: leave out {_FLAG}")
    chosen = choose_text(table, text=column, flag=_FLAG)
    found = _collect(table, chosen)
    if found.faults and faults == "refuse":
        raise DataError(
            f"{fault_line(path, found.faults[0])}; {len(found.faults):,} of {found.rows:,} rows cannot be used: mend "
            "them, or leave them out with --set data.faults=skip"
        )
    if not found.texts:
        raise DataError(f"{path}: none of its {found.rows:,} rows holds a text; give it one comment a row")
    guessed = [] if column is not None or _is_lines(path) else [f'{path}: text is taken from column "{chosen}"']
    return _made(path, tuple(found.texts.values()), [*guessed, *_left_out(path, found)])


def unlabelled_from_settings(settings: DataSettings) -> UnlabelledTexts | None:
    """Return the texts of the file that ``[data]`` names, or nothing where it names none.

    Their column is ``unlabelled_text``; else the one that holds the labelled comments, where the file has it; else
    guessed.

    Raises:
        DataError: as for :func:`read_unlabelled`.
        MissingExtraError: Parquet without pyarrow.
    """
    path, column = settings.unlabelled, settings.unlabelled_text
    if path is None:
        return None
    if column is None and not _is_lines(path) and settings.text in _open(path).columns:
        column = settings.text
    return read_unlabelled(path, column=column, faults=settings.faults)


def without_known(
    unlabelled: UnlabelledTexts, known: Iterable[str], *, where: str = "the labelled comments"
) -> UnlabelledTexts:
    """Return the texts that are none of the known ones, case and white space aside; a note tells how many fell out.

    In training, a text of the validation or test rows would be a leak, and one of the training rows is there already.

    Args:
        unlabelled: texts, as read.
        known: what must not be among them.
        where: what has the known texts, in the plural.

    Raises:
        DataError: no text is left.

    Example:
        >>> read = UnlabelledTexts("more.txt", ("Go away", "stay"), sha256="")
        >>> left = without_known(read, ["go  AWAY"])
        >>> left.texts, left.notes
        (('stay',), ('more.txt: left out, because the labelled comments have them: 1',))
    """
    folded = {fold_text(text) for text in known}
    texts = tuple(text for text in unlabelled.texts if fold_text(text) not in folded)
    if len(texts) == len(unlabelled):
        return unlabelled
    if not texts:
        raise DataError(f"{unlabelled.source}: {where} have every text of it; give a file of other comments")
    note = f"{unlabelled.source}: left out, because {where} have them: {len(unlabelled) - len(texts):,}"
    return _made(unlabelled.source, texts, [*unlabelled.notes, note])


def _made(source: str, texts: tuple[str, ...], notes: Sequence[str]) -> UnlabelledTexts:
    sha256 = hash_comments(texts, np.empty(0, dtype=np.int64), label_names=(), parts=None)
    return UnlabelledTexts(source, texts, sha256, tuple(notes))


def _is_lines(path: str) -> bool:
    return Path(path).suffix.lower() == _LINES


def _open(path: str) -> Table:
    allowed = f"give the path of a file that ends in {', '.join((*SUFFIXES, _LINES))}"
    if not _is_lines(path):
        if Path(path).suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: is not a file that can be read without labels; {allowed}")
        return open_file(path)
    if not Path(path).is_file():
        raise DataError(f"{path}: {'is a folder' if Path(path).is_dir() else 'no such file'}; {allowed}")
    try:
        refuse_binary(Path(path), source=path)
    except OSError as failure:
        raise DataError(f"{path}: cannot be opened: {failure.strerror or failure}") from None
    return Table(path, ("text",), lambda _: _lines(Path(path)))


def _lines(path: Path) -> Iterator[Row]:
    offset = 0
    with path.open("rb") as stream:
        for raw in stream:
            text, problem = decode_line(raw, offset=offset)
            offset += len(raw)
            yield Row((text.rstrip("\r\n"),), problem)


def _collect(table: Table, column: str) -> _Found:
    found = _Found()
    for number, row in enumerate(table.rows([column]), start=1):
        found.rows = number
        text = row.values[0] if row.values else None
        problem = row.problem or text_problem(text)
        if problem in _NO_TEXT:
            found.empty += 1
        elif problem is not None:
            found.faults.append(Fault(number, f"{problem} ({row.place})" if row.place else problem))
        elif fold_text(str(text)) in found.texts:
            found.repeated += 1
        else:
            found.texts[fold_text(str(text))] = str(text)
    return found


def _left_out(path: str, found: _Found) -> list[str]:
    amounts = {"empty": found.empty, "repeated": found.repeated, "not usable": len(found.faults)}
    told = [f"{amount:,} {word}" for word, amount in amounts.items() if amount]
    return [f"{path}: left out: {', '.join(told)}"] if told else []
