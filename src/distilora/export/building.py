"""From a draft to a bundle that was measured, found right and written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.bundles.manifest import CARD_FILE, MODEL_FILE, TOKENIZER_FILE, Manifest, Scores, Threshold
from distilora.bundles.predictions import calibrated, decide
from distilora.bundles.storage import entries_of, write_bundle
from distilora.errors import ParityError
from distilora.evaluation.intervals import accuracy_interval, macro_f1_interval
from distilora.evaluation.metrics import accuracy, macro_f1
from distilora.evaluation.temperature import fit_temperature
from distilora.evaluation.thresholds import BEST_F1, Aim, choose_threshold, positive_probability
from distilora.export.parity import check_parity

_SAMPLE_ROWS = 256


@dataclass(frozen=True, eq=False)
class Draft:
    """A bundle before it is measured."""

    manifest: Manifest
    """With temperature 1, and without positive classes, threshold, parity and scores of its own."""
    contents: dict[str, bytes]
    """Its files but the card, by name."""
    card: Callable[[Manifest], str]
    """Writes the card, once everything is measured."""
    positive: tuple[str, ...] = ()
    """The classes that are to count as positive."""
    aim: Aim = BEST_F1
    """What their threshold is chosen for."""


@dataclass(frozen=True, eq=False)
class ValidationRows:
    """What a bundle is measured on."""

    texts: list[str]
    labels: NDArray[np.int64]
    """Index of the true class, shape (rows,)."""
    trained_logits: NDArray[np.float32]
    """What the trained model says of them, shape (rows, classes)."""


def build_bundle(draft: Draft, rows: ValidationRows, out: Path, *, replace: bool = False) -> str:
    """Return the id of the bundle that ``out`` now is: calibrated, and proved to say what the trained model says.

    The draft is written to a temporary folder, opened as any bundle is, and measured there; so is the bundle that it
    becomes. Only then is anything written to ``out``.

    Args:
        draft: the bundle to be.
        rows: what it is measured on.
        out: the bundle's folder.
        replace: whether a bundle that is there may be replaced.

    Raises:
        ParityError: it does not say what the trained model says.
        ConfigError: no threshold reaches the aim.
        BundleError: ``out`` is taken or cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="distilora-export-") as name:
        trial = _opened(Path(name) / "draft", draft.manifest, draft)
        manifest = measured(draft, rows, logits=trial.logits(rows.texts))
        final = _opened(Path(name) / "final", manifest, draft)
        _require_repeated(trial, final, some_texts(rows.texts))
    contents = {**draft.contents, CARD_FILE: draft.card(with_files(manifest, draft.contents)).encode()}
    return write_bundle(out, manifest, contents, replace=replace)


def measured(draft: Draft, rows: ValidationRows, *, logits: NDArray[np.float32]) -> Manifest:
    """Return the draft's manifest with parity, temperature, threshold and scores.

    Args:
        draft: the bundle to be.
        rows: what it was measured on.
        logits: what the draft, opened again, says of them, shape (rows, classes).

    Raises:
        ParityError: it does not say what the trained model says.
        ConfigError: no threshold reaches the aim.
    """
    before = draft.manifest
    parity = check_parity(
        rows.trained_logits,
        logits,
        rows.labels,
        precision=before.precision or "fp32",
        pruned=before.vocabulary_pruned_from is not None,
    )
    temperature = fit_temperature(logits, rows.labels)
    probabilities = calibrated(logits, temperature=temperature)
    threshold = find_threshold(probabilities, rows.labels, draft)
    found = {
        "temperature": temperature,
        "positive": draft.positive,
        "threshold": threshold,
        "parity": parity,
    }
    manifest = Manifest.model_validate({**dict(before), **found})
    scores = validation_scores(_labels_of(manifest, logits), rows.labels, classes=len(manifest.labels))
    return manifest.model_copy(update={"bundle_scores": (scores,)})


def find_threshold(probabilities: NDArray[np.float32], labels: NDArray[np.int64], draft: Draft) -> Threshold | None:
    """Return the threshold on the positive classes that serves a draft's aim; nothing where no class is positive.

    Args:
        probabilities: calibrated, of validation rows, shape (rows, classes).
        labels: index of the true class, shape (rows,).
        draft: names the classes, the positive ones and the aim.

    Raises:
        ConfigError: no threshold reaches the aim.
    """
    if not draft.positive:
        return None
    positive = [draft.manifest.labels.index(name) for name in draft.positive]
    return choose_threshold(
        positive_probability(probabilities, positive),
        np.isin(labels, positive),
        goal=draft.aim.goal,
        at_least=draft.aim.at_least,
    )


def _labels_of(manifest: Manifest, logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the labels that a bundle with this manifest gives to texts with these logits, shape (texts,)."""
    return decide(
        calibrated(logits, temperature=manifest.temperature or 1.0),
        positive=[manifest.labels.index(name) for name in manifest.positive],
        threshold=None if manifest.threshold is None else manifest.threshold.value,
    )


def validation_scores(predictions: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> Scores:
    """Return what a bundle's own labels score on validation rows.

    Args:
        predictions: index of the class that each row was given, shape (rows,).
        labels: index of the true class, shape (rows,).
        classes: how many there are.
    """
    votes = np.eye(classes)[predictions]  # (rows, classes)
    of_accuracy = accuracy_interval(labels, predictions[None], classes=classes)
    of_macro_f1 = macro_f1_interval(labels, predictions[None], classes=classes)
    return Scores(
        part="validation",
        rows=len(labels),
        accuracy=accuracy(votes, labels),
        macro_f1=macro_f1(votes, labels),
        accuracy_interval=(of_accuracy.low, of_accuracy.high),
        macro_f1_interval=(of_macro_f1.low, of_macro_f1.high),
    )


def _opened(folder: Path, manifest: Manifest, draft: Draft) -> Bundle:
    """Return a bundle with only what it runs on, written and opened again."""
    write_bundle(folder, manifest, {name: draft.contents[name] for name in (MODEL_FILE, TOKENIZER_FILE)})
    return open_bundle(folder)


def some_texts(texts: list[str]) -> list[str]:
    """Return at most 256 of the texts, evenly spread."""
    return texts[:: -(-len(texts) // _SAMPLE_ROWS)]


def _require_repeated(trial: Bundle, final: Bundle, texts: list[str]) -> None:
    """Raise unless the bundle gives the labels that its scores were computed from."""
    expected = _labels_of(final.manifest, trial.logits(texts))
    require_labels(final, texts, expected)


def require_labels(bundle: Bundle, texts: list[str], expected: NDArray[np.int64]) -> None:
    """Raise unless a bundle gives texts the labels that its scores were computed from.

    Args:
        bundle: as it will be, opened again.
        texts: some validation rows.
        expected: index of each one's class, shape (texts,).

    Raises:
        ParityError: it does not.
    """
    different = int((bundle.predict(texts).labels != expected).sum())
    if different:
        raise ParityError(
            f"the bundle, opened again, gives {different} of {len(texts)} validation rows another label than the one "
            "its scores were computed from: report this fault"
        )


def with_files(manifest: Manifest, contents: dict[str, bytes]) -> Manifest:
    """Return a manifest that names these files."""
    return manifest.model_copy(update={"files": entries_of(contents)})
