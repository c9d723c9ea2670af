"""Texts with what people said of them, for lists of single rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distilora.data.faults import listed, shown
from distilora.data.jsonlines import Line, read_lines
from distilora.data.records import Comments
from distilora.errors import RunError
from distilora.evaluation.kept import unreadable
from distilora.evaluation.metrics import softmax
from distilora.files import write_whole

_LARGEST = 2**63 - 1
"""Row number that an array of int64 can hold."""


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts of one part of the data, one entry a row in every field."""

    texts: Sequence[str]
    labels: NDArray[np.int64]
    """Index into ``label_names``, shape (rows,)."""
    label_names: tuple[str, ...]
    row_numbers: NDArray[np.int64]
    """Row in the source, from 1, the header not counted, shape (rows,)."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def require_probabilities(self, probabilities: NDArray[np.float64]) -> None:
        """Refuse probabilities of any other shape than (rows, classes), or that are none.

        Raises:
            ValueError: shape, a value outside 0 to 1, or a row that does not sum to 1.
        """
        wanted = (len(self), len(self.label_names))
        if probabilities.shape != wanted:
            raise ValueError(f"probabilities have shape {probabilities.shape}; (rows, classes) is {wanted}")
        if not ((probabilities >= 0).all() and np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-4)):
            raise ValueError("probabilities must be 0 to 1 and sum to 1 in each row; logits are none: see softmax")


def labelled_texts(comments: Comments, positions: NDArray[np.int64]) -> LabelledTexts:
    """Return the texts of one part with their labels and row numbers.

    Args:
        comments: of one source.
        positions: into ``comments.texts``, from 0, as in ``Splits``; shape (rows,).
    """
    return LabelledTexts(
        texts=[comments.texts[position] for position in positions],
        labels=comments.labels[positions],
        label_names=comments.label_names,
        row_numbers=comments.row_numbers[positions],
    )


def mean_probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return softmax of the logits, averaged over seeds, shape (rows, classes).

    Args:
        logits: of the same rows by the model of each seed, shape (seeds, rows, classes).

    Raises:
        ValueError: not of three dimensions, or without seeds.

    Example:
        >>> mean_probabilities(np.log([[[0.8, 0.2]], [[0.4, 0.6]]])).round(3).tolist()
        [[0.6, 0.4]]
    """
    if logits.ndim != 3 or not len(logits):
        raise ValueError(f"logits have shape {logits.shape}: need (seeds, rows, classes)")
    return np.asarray(softmax(logits).mean(axis=0))


def write_labelled_texts(path: Path, rows: LabelledTexts) -> None:
    """Write rows as JSON lines with the keys ``row``, ``label`` and ``text``, whole or not at all.

    All but ASCII is escaped, so that half a surrogate pair comes back as it was.
    """
    lines = (
        json.dumps({"row": int(number), "label": rows.label_names[label], "text": text}) + "\n"
        for number, label, text in zip(rows.row_numbers, rows.labels, rows.texts, strict=True)
    )
    write_whole(path, "".join(lines))


def read_labelled_texts(path: Path, label_names: Sequence[str]) -> LabelledTexts:
    """Return rows as :func:`write_labelled_texts` wrote them.

    Args:
        path: the file.
        label_names: of all classes, in the order of the models' logits.

    Raises:
        RunError: the file cannot be read, or a line of it is none that was written so.
    """
    codes = {name: code for code, name in enumerate(label_names)}
    try:
        with path.open("rb") as stream:
            rows = [_row(path, line, codes) for line in read_lines(stream)]
    except OSError as error:
        raise unreadable(path, error) from None
    return LabelledTexts(
        texts=[text for _, _, text in rows],
        labels=np.array([code for _, code, _ in rows], dtype=np.int64),
        label_names=tuple(label_names),
        row_numbers=np.array([number for number, _, _ in rows], dtype=np.int64),
    )


def _row(path: Path, line: Line, codes: dict[str, int]) -> tuple[int, int, str]:
    """Return row number, class and text of one line."""
    item = line.item or {}
    number, label, text = item.get("row"), item.get("label"), item.get("text")
    if line.problem is not None:
        problem = line.problem
    elif not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= _LARGEST:
        problem = f"row is {shown(number)}; need a number from 1"
    elif not isinstance(label, str) or label not in codes:
        problem = f"label is {shown(label)}, not one of {listed(list(codes))}"
    elif not isinstance(text, str):
        problem = f"text is {shown(text)}; a text must be a string"
    else:
        return number, codes[label], text
    raise RunError(f"{path} line {line.number}: {problem}; delete the file and compare again")
