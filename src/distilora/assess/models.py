"""A bundle or a trained run as one thing: probabilities of texts, and the rule that makes labels of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distilora.bench.contenders import find_contender
from distilora.bundles.bundle import open_bundle
from distilora.bundles.manifest import MEMBERS_FOLDER, Manifest
from distilora.bundles.predictions import decide
from distilora.bundles.storage import is_bundle, read_manifest
from distilora.bundles.tokens import LongTexts
from distilora.data.faults import listed, nearest, shown
from distilora.errors import ConfigError
from distilora.machine import usable_processors

Probabilities = NDArray[np.float32]
_EVEN = 0.5
"""From which summed probability of the positive classes a text is positive, where no threshold was chosen."""


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier, ready to answer."""

    path: str
    """As the user gave it."""
    kind: Literal["bundle", "run"]
    sha256: str
    """The bundle's id; of a run the hash of its stored logits."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of the probabilities."""
    positive: tuple[str, ...]
    """Classes that count as hateful."""
    threshold: float | None
    """On their summed probability; absent: the likeliest class is taken."""
    data_sha256: tuple[str, ...]
    """Hash of the comments that it was trained on; of an ensemble one for each member."""
    probabilities: Callable[[Sequence[str]], Probabilities]
    """Gives the probability of each class, shape (texts, classes)."""

    def positive_probability(self, probabilities: Probabilities) -> Probabilities:
        """Return the probability of the positive classes together, shape (texts,)."""
        return np.asarray(probabilities[:, self._positive].sum(axis=1))

    def decide(self, probabilities: Probabilities) -> NDArray[np.int64]:
        """Return the class of each text by the model's rule, shape (texts,)."""
        return decide(probabilities, positive=self._positive, threshold=self.threshold)

    def says_positive(self, probabilities: Probabilities) -> NDArray[np.bool_]:
        """Return whether each text is called positive, at the threshold or else at one half, shape (texts,)."""
        threshold = _EVEN if self.threshold is None else self.threshold
        return np.asarray(self.positive_probability(probabilities) >= threshold)

    @property
    def _positive(self) -> list[int]:
        return [self.labels.index(name) for name in self.positive]


def open_model(
    path: str,
    *,
    positive: Sequence[str] = (),
    threshold: float | None = None,
    long_texts: LongTexts = "truncate",
    threads: int | None = None,
) -> Model:
    """Return a bundle or a trained run, ready to answer; for a bundle neither torch nor transformers is needed.

    Args:
        path: of a bundle, or ``EXPERIMENT/METHOD/seed-N``, or ``EXPERIMENT/METHOD`` for its seed that is best on
            validation.
        positive: classes that count as hateful; empty: as the model says.
        threshold: on their summed probability, from 0 to 1; absent: the bundle's own where its positive classes hold,
            else none.
        long_texts: what counts of texts that are longer than the model takes; runs know only ``truncate``.
        threads: processor threads; absent: as many as this process may use.

    Raises:
        BundleError: the bundle is damaged, or the path is neither a bundle nor a run.
        RunError: the run cannot be used.
        ModelError: the run's model cannot be opened.
        MissingExtraError: a run without the libraries for it.
        ConfigError: a positive class is none of the model's, or a setting does not fit the model.
    """
    folder, threads = find_contender(Path(path)), threads or usable_processors()
    if is_bundle(folder):
        model = _bundle(path, folder, long_texts=long_texts, threads=threads)
    else:
        if long_texts != "truncate":
            raise ConfigError(f"{path}: --long-texts {long_texts} is for bundles; a trained run cuts: export it first")
        from distilora.assess.trained import open_run

        model = open_run(path, folder, threads=threads)
    return _ruled(model, positive=positive, threshold=threshold)


def require_positive(models: Sequence[Model], *, why: str) -> None:
    """Refuse a model without positive classes.

    Args:
        models: that are to be assessed.
        why: what they are needed for.

    Raises:
        ConfigError: there is such a model; tells how to name the classes.
    """
    for model in models:
        if not model.positive:
            raise ConfigError(
                f"{model.path}: none of its classes is known to be {why}; "
                f"give --positive with one of {listed(model.labels)}, once for each"
            )


def _bundle(path: str, folder: Path, *, long_texts: LongTexts, threads: int) -> Model:
    bundle = open_bundle(folder, threads=threads)
    own = bundle.manifest.threshold
    return Model(
        path=path,
        kind="bundle",
        sha256=bundle.id,
        labels=bundle.labels,
        positive=bundle.manifest.positive,
        threshold=None if own is None else own.value,
        data_sha256=_trained_on(folder, bundle.manifest),
        probabilities=lambda texts: bundle.predict(texts, long_texts=long_texts).probabilities,
    )


def _trained_on(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    members = [read_manifest(folder / MEMBERS_FOLDER / member.name) for member in manifest.members]
    return tuple(one.origin.data_sha256 for one in (manifest, *members) if one.origin is not None)


def _ruled(model: Model, *, positive: Sequence[str], threshold: float | None) -> Model:
    """Return the model with the positive classes and the threshold that were asked for."""
    for name in positive:
        if name not in model.labels:
            raise ConfigError(
                f"{model.path}: --positive {shown(name)} is not a class{nearest(name, model.labels)}; "
                f"classes are {listed(model.labels)}"
            )
    chosen = tuple(name for name in model.labels if name in positive) or model.positive
    if len(chosen) == len(model.labels):
        raise ConfigError(f"{model.path}: every class is positive; give --positive with some of them, not all")
    # A threshold that was chosen for other classes means nothing for these.
    own = model.threshold if chosen == model.positive else None
    if threshold is not None and not chosen:
        require_positive([model], why="positive, so --threshold means nothing")
    return replace(model, positive=chosen, threshold=own if threshold is None else threshold)
