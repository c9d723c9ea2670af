"""From probabilities to a threshold that serves a goal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.manifest import Goal, Threshold
from distilora.errors import ConfigError


class Aim(NamedTuple):
    """What a threshold is chosen for."""

    goal: Goal
    at_least: float | None = None
    """The precision or recall that is asked for, from 0 to 1; absent where the goal is the best F1."""


BEST_F1 = Aim("f1")


def parse_goal(text: str) -> Aim:
    """Return the aim that ``f1``, ``precision=P`` or ``recall=P`` stands for.

    Raises:
        ConfigError: it is none of these.

    Example:
        >>> parse_goal("recall=0.9")
        Aim(goal='recall', at_least=0.9)
    """
    goal, equals, share = text.partition("=")
    for known in get_args(Goal):
        if goal == known and bool(equals) == (known != "f1"):
            return Aim(known, float(share) if equals else None)
    raise ConfigError(f'export.goal = "{text}": write f1, precision=0.9 or recall=0.9')


def positive_probability(probabilities: NDArray[np.floating], positive: Sequence[int]) -> NDArray[np.floating]:
    """Return the summed probability of the positive classes, shape (rows,), as :func:`decide` adds it up.

    Args:
        probabilities: shape (rows, classes).
        positive: positions of the positive classes.
    """
    is_positive = np.isin(np.arange(probabilities.shape[1]), positive)
    total: NDArray[np.floating] = probabilities[:, is_positive].sum(axis=1)
    return total


def choose_threshold(
    scores: NDArray[np.floating], is_positive: NDArray[np.bool_], *, goal: Goal, at_least: float | None = None
) -> Threshold:
    """Return the threshold that serves the goal best, with the precision, recall and F1 that it reaches.

    Candidates lie midway between neighbouring scores, and one below all. Best are, for ``f1``: the highest F1, then
    the nearest to 0.5; for ``precision``: the highest recall of those that are precise enough, then the highest
    precision; for ``recall`` the other way round.

    Args:
        scores: probability of the positive classes together, shape (rows,).
        is_positive: whether the row truly is positive, shape (rows,).
        goal: what to choose for.
        at_least: the precision or recall that is needed.

    Raises:
        ConfigError: no row is positive, or no threshold reaches the goal.

    Example:
        >>> scores, truth = np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True])
        >>> choose_threshold(scores, truth, goal="precision", at_least=0.9).recall
        0.5
    """
    if not is_positive.any():
        raise ConfigError(
            "no validation row is of a positive class, so that no threshold can be chosen: "
            "use more data, or name other classes in data.positive"
        )
    values, found, right = _candidates(scores, is_positive)
    precision, recall = right / found, right / is_positive.sum()
    f1 = 2 * right / (found + is_positive.sum())
    if goal == "f1":
        order = np.lexsort((np.abs(values - 0.5), -f1))
    else:
        asked, other = (precision, recall) if goal == "precision" else (recall, precision)
        order = np.lexsort((-asked, -other, asked < (at_least or 0.0)))
        if asked[order[0]] < (at_least or 0.0):
            raise ConfigError(_unreachable(goal, at_least, asked, other))
    best = order[0]
    return Threshold(
        value=float(values[best]),
        goal=goal,
        at_least=None if goal == "f1" else at_least,
        precision=float(precision[best]),
        recall=float(recall[best]),
        f1=float(f1[best]),
    )


def _candidates(
    scores: NDArray[np.floating], is_positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return thresholds, highest first, with the number of rows that reach each and how many of those are positive."""
    order = np.argsort(-scores, kind="stable")
    falling = np.minimum(scores[order], 1)  # a sum of probabilities may lie above by rounding; a threshold may not
    last = np.append(falling[1:] != falling[:-1], True)  # of the rows with the same score
    reached, next_below = falling[last], np.append(falling[last][1:], np.zeros_like(falling, shape=1))
    middle = ((reached.astype(np.float64) + next_below) / 2).astype(scores.dtype)
    # In the scores' own precision, in which they will be compared, there may be nothing between two neighbours.
    values = np.where((middle > next_below) | (reached == next_below), middle, reached)
    return values.astype(np.float64), np.flatnonzero(last) + 1, np.cumsum(is_positive[order])[last]


def _unreachable(goal: str, at_least: float | None, asked: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    best = np.lexsort((-other, -asked))[0]
    name = "recall" if goal == "precision" else "precision"
    return (
        f'export.goal = "{goal}={at_least:g}": no threshold reaches it on the validation rows; the highest {goal} is '
        f"{asked[best]:.4f} (with {name} {other[best]:.4f}); ask for less, or use f1"
    )
