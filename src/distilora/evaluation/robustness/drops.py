"""What noise costs in macro-F1."""

from __future__ import annotations

from collections.abc import Mapping

from distilora.evaluation.intervals import difference_interval
from distilora.evaluation.metrics import macro_f1_of
from distilora.evaluation.records import Interval
from distilora.evaluation.resampling import Classes
from distilora.records import Record


class NoiseDrop(Record):
    """Macro-F1 of one method with and without one kind of noise, each the mean over seeds, from 0 to 1."""

    kind: str
    clean_macro_f1: float
    noisy_macro_f1: float
    drop: float
    """Clean minus noisy: above 0 where noise makes the method worse."""
    interval: Interval
    """Of the drop, over test rows, paired."""

    @property
    def is_shown(self) -> bool:
        """Return whether the interval leaves out 0."""
        return self.interval.leaves_out_zero


def robustness(
    labels: Classes,
    clean_predictions: Classes,
    noisy_predictions: Mapping[str, Classes],
    *,
    classes: int,
) -> tuple[NoiseDrop, ...]:
    """Return the drop in macro-F1 under each kind of noise, in the order given.

    Args:
        labels: true class of each row, shape (rows,).
        clean_predictions: predicted class of each row by the model of each seed, shape (seeds, rows).
        noisy_predictions: by kind of noise: the same of the same models on the noisy texts, shape (seeds, rows).
        classes: how many classes there are, those without rows included.

    Raises:
        ValueError: shapes do not fit.

    Source:
        The interval: Koehn (2004), §4, https://aclanthology.org/W04-3250.

    Example:
        >>> import numpy as np
        >>> labels = np.array([0, 1] * 50)
        >>> (found,) = robustness(labels, labels[None], {"upper-case": labels[None]}, classes=2)
        >>> found.drop, found.interval
        (0.0, Interval(low=0.0, high=0.0))
    """
    for kind, predictions in noisy_predictions.items():
        if predictions.shape != clean_predictions.shape:
            raise ValueError(f"{kind}: predictions have shape {predictions.shape}, clean {clean_predictions.shape}")
    clean = macro_f1_of(clean_predictions, labels, classes=classes)
    drops = []
    for kind, predictions in noisy_predictions.items():
        noisy = macro_f1_of(predictions, labels, classes=classes)
        interval = difference_interval(labels, clean_predictions, predictions, classes=classes)
        drops.append(
            NoiseDrop(kind=kind, clean_macro_f1=clean, noisy_macro_f1=noisy, drop=clean - noisy, interval=interval)
        )
    return tuple(drops)
