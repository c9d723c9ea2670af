"""Comments, what is wrong with them, and the three parts they are split into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a source, or with one row of it."""

    row: int | None
    """Row number from 1, the header not counted; absent where the fault is of the whole source."""
    problem: str
    """What came and what is allowed, in one line."""


@dataclass(frozen=True, eq=False)
class Comments:
    """Labelled comments of one source, in the order of the source, faulty rows left out.

    All sequences have length ``rows``.
    """

    source: str
    """The name by which the user gave the source."""
    texts: tuple[str, ...]
    labels: NDArray[np.int64]
    """Index into ``label_names`` for each comment, shape (rows,)."""
    label_names: tuple[str, ...]
    positive: tuple[str, ...]
    """Names of the classes that count as hateful; empty where nobody said so."""
    row_numbers: NDArray[np.int64]
    """Row in the source, from 1, the header not counted, shape (rows,)."""
    parts: tuple[Part, ...] | None
    """The data set's own split, one name a row; absent where the source has none."""
    sha256: str
    """Hash of texts, label names, labels and parts: equal hashes mean equal data."""
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    """What was decided without being told, such as guessed columns; for saying aloud."""

    def __len__(self) -> int:
        """Return the number of usable rows."""
        return len(self.texts)


@dataclass(frozen=True, eq=False)
class Splits:
    """Three disjoint parts, as positions into ``Comments.texts`` (from 0), each ascending."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    def part(self, name: Part) -> NDArray[np.int64]:
        """Return the positions of one part, shape (rows of the part,)."""
        parts: dict[Part, NDArray[np.int64]] = {
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
        }
        return parts[name]
