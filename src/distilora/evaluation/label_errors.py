"""Rows whose label is likely wrong, by confident learning.

A model that has not seen a row doubts its label by giving it a low probability. How low is low differs from class to
class, so each class gets a threshold of its own: the mean probability that its own rows give it.

Source:
    Northcutt, Jiang & Chuang (2021), Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70,
    https://arxiv.org/abs/1911.00068.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from distilora.data.cells import record_lines
from distilora.evaluation.labelled_texts import LabelledTexts
from distilora.records import Record

COLUMNS = ("row", "text", "label", "label_probability", "suggested", "suggested_probability", "margin")
_ROUNDING = 1e-9
"""By how much a probability may miss a threshold that is the mean of many like it."""
_NOT_SURE = -1


class LabelError(Record):
    """One row whose label is likely wrong."""

    row: int
    """Row in the source, from 1, the header not counted."""
    text: str
    label: str
    """What the data says."""
    label_probability: float
    suggested: str
    """The likeliest of the classes whose threshold is reached."""
    suggested_probability: float
    margin: float
    """Probability of the label minus that of the likeliest other class, from -1 to 0: the lower, the likelier wrong."""


class LabelErrors(Record):
    """Which labels are likely wrong, and how many by estimate."""

    rows: int
    thresholds: dict[str, float | None]
    """Mean probability of each class over the rows with its label; absent for a class without rows."""
    confident_joint: tuple[tuple[int, ...], ...]
    """Counts of the rows that reach some threshold; rows: label, columns: suggested class."""
    estimated_error_share: float
    """Share of all labels that are wrong, from 0 to 1, as the confident joint has it."""
    count: int
    """Rows that are likely wrong; all of them, not only those listed."""
    top: tuple[LabelError, ...]
    """Lowest margin first, of equal ones the earlier row; no more than were asked for."""


def find_label_errors(
    rows: LabelledTexts, probabilities: NDArray[np.float64], *, limit: int | None = 50
) -> LabelErrors:
    """Return the rows whose label is likely wrong: off the confident joint's diagonal, their label not the likeliest.

    Args:
        rows: what the data says.
        probabilities: of models that saw none of these rows in training, shape (rows, classes): those of test rows, or
            of validation rows, which are a little too kind where an epoch was chosen on them; never of training rows,
            whose labels a model knows by heart. With several seeds the mean: see ``mean_probabilities``.
        limit: longest list that is wanted; absent: all. The counts are of all rows in any case.

    Raises:
        ValueError: there are no rows, shapes differ, or probabilities are none.

    Source:
        §3.1 (thresholds, confident joint) and §3.2 (its off-diagonal; ranking by normalised margin).

    Example:
        >>> rows = LabelledTexts(["a", "b", "c", "d"], np.array([0, 0, 1, 1]), ("no", "yes"), np.arange(1, 5))
        >>> found = find_label_errors(rows, np.array([[0.9, 0.1], [0.8, 0.2], [0.95, 0.05], [0.1, 0.9]]))
        >>> [(error.text, error.label, error.suggested, round(error.margin, 2)) for error in found.top]
        [('c', 'yes', 'no', -0.9)]
    """
    rows.require_probabilities(probabilities)
    if not len(rows):
        raise ValueError("there are no rows to look for label errors in")
    classes = len(rows.label_names)
    thresholds = class_thresholds(probabilities, rows.labels)
    suggested = confident_classes(probabilities, thresholds)
    joint = confident_joint(rows.labels, suggested, classes=classes)
    margins = label_margins(probabilities, rows.labels)
    wrong = np.flatnonzero((suggested != _NOT_SURE) & (suggested != rows.labels) & (margins < 0))
    order = wrong[np.lexsort((rows.row_numbers[wrong], margins[wrong]))]
    return LabelErrors(
        rows=len(rows),
        thresholds={
            name: None if np.isinf(value) else float(value)
            for name, value in zip(rows.label_names, thresholds, strict=True)
        },
        confident_joint=tuple(tuple(row) for row in joint.tolist()),
        estimated_error_share=_error_share(joint, np.bincount(rows.labels, minlength=classes)),
        count=len(wrong),
        top=tuple(_error(rows, probabilities, suggested, margins, index) for index in order[:limit].tolist()),
    )


def class_thresholds(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean probability of each class over the rows with its label, shape (classes,).

    Args:
        probabilities: shape (rows, classes).
        labels: index of the class that the data says, shape (rows,).

    Returns:
        Infinity for a class without rows: no row can reach it.

    Source:
        Equation 2.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, weights=own, minlength=len(counts))
    return np.asarray(np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0))


def confident_classes(probabilities: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the likeliest class of those whose threshold a row reaches, -1 where it reaches none; shape (rows,).

    Args:
        probabilities: shape (rows, classes).
        thresholds: shape (classes,).

    Source:
        Equation 1.

    Example:
        >>> confident_classes(np.array([[0.6, 0.4], [0.45, 0.55]]), np.array([0.7, 0.3])).tolist()
        [1, 1]
    """
    reached = probabilities >= thresholds - _ROUNDING
    likeliest = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.asarray(np.where(reached.any(axis=1), likeliest, _NOT_SURE), dtype=np.int64)


def confident_joint(labels: NDArray[np.int64], suggested: NDArray[np.int64], *, classes: int) -> NDArray[np.int64]:
    """Return how often each label meets each suggested class, shape (classes, classes), rows without one left out.

    Args:
        labels: shape (rows,).
        suggested: as from :func:`confident_classes`, shape (rows,).
        classes: how many there are.

    Source:
        Equation 1.
    """
    sure = suggested != _NOT_SURE
    cells = labels[sure] * classes + suggested[sure]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def label_margins(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability of each row's label minus that of its likeliest other class, -1 to 1, shape (rows,).

    Example:
        >>> label_margins(np.array([[0.7, 0.1, 0.2], [0.7, 0.1, 0.2]]), np.array([0, 2])).round(2).tolist()
        [0.5, -0.5]
    """
    index = np.arange(len(labels))
    others = probabilities.copy()
    others[index, labels] = -np.inf
    return np.asarray(probabilities[index, labels] - others.max(axis=1))


def label_error_lines(found: Iterable[LabelError]) -> Iterator[str]:
    """Return a CSV (RFC 4180) with a header: one string a row, its line end included, no cell a formula.

    Example:
        >>> next(label_error_lines([])).rstrip()
        'row,text,label,label_probability,suggested,suggested_probability,margin'
    """
    return record_lines(found, COLUMNS)


def _error_share(joint: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Return the share of wrong labels: off the diagonal of equation 3, which scales each row to its label's count."""
    sure = joint.sum(axis=1)  # at least 1 for a class with rows: its own best row reaches the mean
    kept = np.divide(np.diagonal(joint), sure, out=np.ones(len(joint)), where=sure > 0)
    return float(((1 - kept) * counts).sum() / counts.sum())


def _error(
    rows: LabelledTexts,
    probabilities: NDArray[np.float64],
    suggested: NDArray[np.int64],
    margins: NDArray[np.float64],
    index: int,
) -> LabelError:
    label, other = rows.labels[index], suggested[index]
    return LabelError(
        row=int(rows.row_numbers[index]),
        text=rows.texts[index],
        label=rows.label_names[label],
        label_probability=float(probabilities[index, label]),
        suggested=rows.label_names[other],
        suggested_probability=float(probabilities[index, other]),
        margin=float(margins[index]),
    )
