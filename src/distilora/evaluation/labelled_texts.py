"""Texts with what people said of them, for lists of single rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distilora.data.records import Comments
from distilora.evaluation.metrics import softmax


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
