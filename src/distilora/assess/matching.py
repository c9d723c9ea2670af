"""Which of a model's classes the labels of a source mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.assess.models import Model
from distilora.data.faults import listed, shown
from distilora.errors import DataError

_USUAL_POSITIVE: Mapping[str, bool] = {
    "0": False,
    "1": True,
    "false": False,
    "true": True,
    "non-hateful": False,
    "hateful": True,
}
"""What the labels of the usual identity files say, where they are none of the model's classes."""


def class_positions(names: Sequence[str], model: Model, *, source: str) -> NDArray[np.int64]:
    """Return where each class of a source stands among a model's, by name, big and small letters alike if need be.

    Args:
        names: classes of the source.
        model: whose classes are meant.
        source: its name, for messages.

    Raises:
        DataError: a class is none of the model's.
    """
    folded = {label.casefold(): index for index, label in reversed(list(enumerate(model.labels)))}
    exact = {label: index for index, label in enumerate(model.labels)}
    found = [exact.get(name, folded.get(name.casefold())) for name in names]
    for name, index in zip(names, found, strict=True):
        if index is None:
            raise DataError(
                f"{source}: label {shown(name)} is none of the classes of {model.path}: {listed(model.labels)}; "
                f"rename with --label-names {shown(f'{name}={model.labels[0]}')} and so on for each label"
            )
    return np.array(found, dtype=np.int64)


def shared_order(models: Sequence[Model]) -> list[NDArray[np.int64]]:
    """Return for each model which of its columns hold the classes of the first, in the first's order.

    Raises:
        DataError: a model has other classes than the first.
    """
    first = models[0]
    for model in models[1:]:
        if set(model.labels) != set(first.labels):
            raise DataError(
                f"{model.path} has the classes {listed(model.labels)}, {first.path} has {listed(first.labels)}; "
                "give models of the same classes, or evaluate them one by one"
            )
    return [np.array([model.labels.index(name) for name in first.labels]) for model in models]


def positive_names(names: Sequence[str], model: Model, *, source: str) -> tuple[NDArray[np.bool_], str | None]:
    """Return which classes of a source are positive, and what to say where that was taken from the usual names.

    Args:
        names: classes of the source: the model's, or 0 and 1, false and true, non-hateful and hateful.
        model: whose positive classes count.
        source: its name, for messages.

    Raises:
        DataError: a class is neither one of the model's nor one of those names.
    """
    usual = [_USUAL_POSITIVE.get(name.casefold()) for name in names]
    if None in usual or all(name in model.labels for name in names):
        positions = class_positions(names, model, source=source)
        return np.array([model.labels[index] in model.positive for index in positions]), None
    said = [name for name, positive in zip(names, usual, strict=True) if positive]
    return np.array(
        usual, dtype=np.bool_
    ), f"label {listed(said)} is taken to mean the positive classes" if said else None
