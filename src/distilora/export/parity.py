"""Whether an exported model says what the trained model says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.manifest import Parity, Precision
from distilora.errors import ParityError
from distilora.evaluation.metrics import macro_f1

LARGEST_DIFFERENCE = 1e-4
"""Of a logit, in float32 with the whole vocabulary, where only the order of additions differs."""
LARGEST_LOSS = 0.005
"""Of macro-F1, in int8 or with fewer tokens."""
SMALLEST_AGREEMENT = 0.99
"""Share of the rows with the same label, in int8 or with fewer tokens."""
_ADVICE = "; export "


def check_parity(  # noqa: PLR0913 - what both say, the truth, and what was asked for
    trained: NDArray[np.float32],
    exported: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    precision: Precision,
    pruned: bool = False,
    averaged: bool = False,
) -> Parity:
    """Return how near an exported model is to the trained one, once it is near enough.

    In float32 no logit may differ by more than 1e-4. In int8, or with a pruned vocabulary, macro-F1 may be at most 0.5
    point lower (higher is no fault), and at least 99 % of the rows must get the same label. An ensemble is judged so in
    float32 too: there each member was compared logit by logit, and logarithms of small probabilities tell nothing more.

    Args:
        trained: the trained model's logits, shape (rows, classes).
        exported: the exported model's, same shape.
        labels: index of the true class, shape (rows,).
        precision: that was asked for.
        pruned: whether its vocabulary, or those of its members, were pruned.
        averaged: whether it is an ensemble, of which the logits are logarithms of mean probabilities.

    Raises:
        ParityError: it is too far off; says how far.

    Example:
        >>> logits = np.eye(2, dtype=np.float32)
        >>> check_parity(logits, logits + np.float32(1e-5), np.array([0, 1]), precision="fp32").same_labels
        1.0
    """
    parity = _measured(trained, exported, labels)
    if precision == "fp32" and not pruned and not averaged:
        _check_logits(parity)
    else:
        _check_labels(parity, instead=_instead(precision, pruned=pruned))
    return parity


def _measured(trained: NDArray[np.float32], exported: NDArray[np.float32], labels: NDArray[np.int64]) -> Parity:
    """Return how near two models' logits are, if they can be compared at all."""
    if trained.shape != exported.shape:
        raise ParityError(f"the exported model gives logits of shape {exported.shape}, the trained {trained.shape}")
    if not np.isfinite(exported).all():
        rows = int((~np.isfinite(exported)).any(axis=1).sum())
        raise ParityError(f"the exported model gives no number for {rows} of {len(labels)} validation rows")
    return Parity(
        rows=len(labels),
        largest_logit_difference=float(np.abs(exported.astype(np.float64) - trained).max()),
        same_labels=float((exported.argmax(axis=1) == trained.argmax(axis=1)).mean()),
        macro_f1_trained=macro_f1(trained, labels),
        macro_f1_bundle=macro_f1(exported, labels),
    )


def without_advice(failure: ParityError) -> str:
    """Return what :func:`check_parity` found, without what to do about it.

    Example:
        >>> without_advice(ParityError("same labels 97.00 %; export with --precision fp32"))
        'same labels 97.00 %'
    """
    return str(failure).partition(_ADVICE)[0]


def _check_logits(parity: Parity) -> None:
    if not parity.largest_logit_difference <= LARGEST_DIFFERENCE:
        raise ParityError(
            f"the exported model is not the trained one: on {parity.rows:,} validation rows logits differ by up to "
            f"{parity.largest_logit_difference:.2g}, {LARGEST_DIFFERENCE:g} is allowed; same labels "
            f"{_percent(parity.same_labels)}; {_f1s(parity)}; train the run again, or report this fault"
        )


def _check_labels(parity: Parity, *, instead: str) -> None:
    loss = parity.macro_f1_trained - parity.macro_f1_bundle
    if parity.same_labels < SMALLEST_AGREEMENT or loss > LARGEST_LOSS:
        raise ParityError(
            f"the exported model is too far from the trained one: on {parity.rows:,} validation rows same labels "
            f"{_percent(parity.same_labels)}, at least {100 * SMALLEST_AGREEMENT:g} % is needed; {_f1s(parity)}, at "
            f"most {100 * LARGEST_LOSS:g} point less is allowed{_ADVICE}{instead}"
        )


def _instead(precision: Precision, *, pruned: bool) -> str:
    ways = ["with --precision fp32"] * (precision == "int8") + ["without --prune-vocabulary"] * pruned
    return " or ".join(ways) or "the members one by one to see which it is"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _f1s(parity: Parity) -> str:
    return f"macro-F1 {parity.macro_f1_bundle:.4f} against {parity.macro_f1_trained:.4f}"
