"""How alike two layers represent the same texts: linear CKA, without the bias of few rows.

The plain estimate of Kornblith et al. (2019) rises towards 1 when rows are few beside the width, for unrelated layers
too. Here each HSIC in it is the unbiased estimate of Song et al. (2012, eq. 5), as Nguyen, Raghu & Kornblith (2021)
proposed. It needs no matrix of rows by rows: for a linear kernel all its sums follow from the features' covariances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Pooling = Literal["first", "mean"]
"""How the states of a text's tokens become one vector: that of the first token, or the mean over all tokens."""
POOLINGS: tuple[Pooling, ...] = ("first", "mean")
Similarities = tuple[tuple[float | None, ...], ...]
"""Linear CKA, at most 1: rows are layers of one model, columns of another, both from 0, the embeddings.

Absent where a layer's vectors are the same for all rows, as those of the first token are in the embeddings.
"""
_CONSTANT = 1e-12
"""Share of the squared length of vectors below which their variance is rounding of float32."""


class _Centred(NamedTuple):
    """Vectors of one layer less their mean."""

    vectors: NDArray[np.float64]
    """Shape (rows, width)."""
    lengths: NDArray[np.float64]
    """Squared length of each vector, shape (rows,)."""
    own: float
    """Unbiased HSIC with itself, up to the factor that CKA cancels; 0 where all rows have the same vector."""


def linear_cka(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    """Return the linear CKA of two layers from unbiased estimates of HSIC: 1 for the same up to rotation and scale.

    Around 0, and as likely below it, for unrelated layers. Rotating, shifting or scaling either side changes nothing.

    Args:
        first: vectors of one layer, shape (rows, width), at least 4 rows.
        second: vectors of the other for the same rows, shape (rows, other width).

    Returns:
        At most 1 up to rounding; nothing where all rows of one side have the same vector.

    Raises:
        ValueError: different or fewer than 4 rows.

    Source:
        Kornblith et al. (2019), §3, https://arxiv.org/abs/1905.00414; Song et al. (2012), eq. 5,
        https://jmlr.org/papers/v13/song12a.html; Nguyen et al. (2021), eq. 3, https://arxiv.org/abs/2010.15327.

    Example:
        >>> layer = np.random.default_rng(0).normal(size=(50, 4))
        >>> round(linear_cka(layer, 3 * layer[:, ::-1] + 1), 9)
        1.0
    """
    return _cka(_centred(first), _centred(second))


def cka_matrix(first: NDArray[np.floating], second: NDArray[np.floating] | None = None) -> Similarities:
    """Return :func:`linear_cka` of every layer of one model with every layer of another, or of its own.

    Args:
        first: vectors of one model, shape (layers, rows, width).
        second: of the other for the same rows, shape (other layers, rows, other width); absent: the first again, of
            which only half is computed.
    """
    rows = [_centred(layer) for layer in first]
    if second is not None:
        columns = [_centred(layer) for layer in second]
        return tuple(tuple(_cka(row, column) for column in columns) for row in rows)
    lower = [[_cka(row, column) for column in rows[: index + 1]] for index, row in enumerate(rows)]
    return _mirrored(lower)


def _mirrored(lower: Sequence[Sequence[float | None]]) -> Similarities:
    """Return the symmetric matrix whose lower triangle, diagonal included, is given."""
    places = range(len(lower))
    return tuple(tuple(lower[max(row, column)][min(row, column)] for column in places) for row in places)


def _centred(layer: NDArray[np.floating]) -> _Centred:
    wide = layer.astype(np.float64)
    vectors = wide - wide.mean(axis=0)
    lengths = np.einsum("rw,rw->r", vectors, vectors)
    varies = lengths.sum() > _CONSTANT * np.square(wide).sum()
    return _Centred(vectors, lengths, _hsic((vectors, lengths), (vectors, lengths)) if varies else 0.0)


def _cka(first: _Centred, second: _Centred) -> float | None:
    if len(first.vectors) != len(second.vectors) or len(first.vectors) < 4:
        raise ValueError(f"{len(first.vectors)} and {len(second.vectors)} rows: need the same, at least 4")
    if first.own <= 0 or second.own <= 0:
        return None
    return _hsic(first[:2], second[:2]) / float(np.sqrt(first.own * second.own))


def _hsic(
    first: tuple[NDArray[np.float64], NDArray[np.float64]], second: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> float:
    """Return the unbiased HSIC of two centred layers, times n(n − 3), which CKA cancels.

    With K = XXᵀ, L = YYᵀ, both centred and then without their diagonals, tr(KL) = ‖XᵀY‖² − Σ kᵢᵢlᵢᵢ, 1ᵀK1 = −Σ kᵢᵢ
    and 1ᵀKL1 = Σ kᵢᵢlᵢᵢ.
    """
    (x, x_lengths), (y, y_lengths) = first, second
    rows = len(x)
    covariance = x.T @ y  # (width, other width)
    squared = float(np.einsum("ij,ij->", covariance, covariance))
    diagonal = float(x_lengths @ y_lengths)
    totals = float(x_lengths.sum() * y_lengths.sum())
    return squared - rows / (rows - 2) * diagonal + totals / ((rows - 1) * (rows - 2))
