"""What a bundle says of texts, and the one rule that turns probabilities into labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Answer(NamedTuple):
    """What a bundle says of one text."""

    label: str
    probabilities: dict[str, float]
    """Every class with its calibrated probability, in the order of the bundle's labels."""
    positive_probability: float | None
    """Of the positive classes together; absent where the bundle has none."""
    tokens: int
    """Of the whole text, special tokens included."""
    cut: bool
    """Whether the text is longer than the model's longest input: part of it was left out, or windows were used."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a bundle says of several texts, one column each; iterate over it for one :class:`Answer` a text."""

    label_names: tuple[str, ...]
    labels: NDArray[np.int64]
    """Index into ``label_names``, shape (texts,)."""
    probabilities: NDArray[np.float32]
    """Calibrated, rows sum to 1, shape (texts, classes)."""
    positive_probability: NDArray[np.float32] | None
    """Shape (texts,)."""
    tokens: NDArray[np.int64]
    """Shape (texts,)."""
    cut: NDArray[np.bool_]
    """Shape (texts,)."""

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.labels)

    def __iter__(self) -> Iterator[Answer]:
        """Yield one answer a text."""
        for row, label in enumerate(self.labels):
            yield Answer(
                label=self.label_names[label],
                probabilities=dict(zip(self.label_names, self.probabilities[row].tolist(), strict=True)),
                positive_probability=(
                    None if self.positive_probability is None else float(self.positive_probability[row])
                ),
                tokens=int(self.tokens[row]),
                cut=bool(self.cut[row]),
            )


def calibrated(logits: NDArray[np.float32], *, temperature: float) -> NDArray[np.float32]:
    """Return softmax(logits / T), shape as given.

    Args:
        logits: shape (texts, classes).
        temperature: T, above 0.

    Source:
        Guo et al. (2017), §4.2, https://arxiv.org/abs/1706.04599.

    Example:
        >>> calibrated(np.array([[0.0, np.log(3.0)]]), temperature=1.0).round(2).tolist()
        [[0.25, 0.75]]
    """
    scaled = np.divide(logits, temperature, dtype=np.float64)
    powers = np.exp(scaled - np.maximum.reduce(scaled, axis=1, keepdims=True))
    shares = np.divide(powers, np.add.reduce(powers, axis=1, keepdims=True))
    return np.asarray(shares, dtype=np.float32)


def decide(
    probabilities: NDArray[np.floating], *, positive: Sequence[int], threshold: float | None
) -> NDArray[np.int64]:
    """Return the label of each text: the likeliest of the positive classes if together they reach the threshold.

    Else it is the likeliest of the others; without positive classes or threshold the likeliest of all.

    Args:
        probabilities: shape (texts, classes).
        positive: positions of the positive classes.
        threshold: on the summed probability of the positive classes, from 0 to 1.

    Returns:
        Positions of the chosen classes, shape (texts,).

    Example:
        >>> decide(np.array([[0.6, 0.3, 0.1]]), positive=[1, 2], threshold=0.35).tolist()
        [1]
    """
    if threshold is None or not len(positive):
        likeliest: NDArray[np.int64] = probabilities.argmax(axis=1)
        return likeliest
    is_positive = np.zeros(probabilities.shape[1], dtype=np.bool_)
    is_positive[list(positive)] = True
    reached = probabilities[:, is_positive].sum(axis=1) >= threshold
    allowed = is_positive[None, :] == reached[:, None]  # (texts, classes)
    chosen: NDArray[np.int64] = np.where(allowed, probabilities, -1.0).argmax(axis=1)
    return chosen
