"""What is measured: a bundle or a trained run, opened as its users open it.

Nothing heavy is imported before it is needed, so that a bundle's figures hold for an installation without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from distilora.errors import MissingExtraError, RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from distilora.bench.records import Kind
    from distilora.bundles.manifest import Manifest
    from distilora.bundles.tokens import TextEncoder

_TRAIN_LIBRARIES = ("torch", "transformers", "peft", "safetensors")


@dataclass(frozen=True)
class Identity:
    """Who a contender is."""

    name: str
    kind: Kind
    precision: str | None
    labels: tuple[str, ...]
    """Names of the classes in the order of its outputs."""
    size_bytes: int
    bundle_id: str | None
    """Absent for a trained run."""


@dataclass(frozen=True)
class Labelled:
    """What a contender says of all texts."""

    labels: list[int]
    """Likeliest class of each text, as a position in the contender's own labels."""
    operations: float | None
    """In matrix products, of all texts together, padding left out; absent where nobody counted them."""


class Contender(Protocol):
    """A classifier that can be run on texts; the texts are tokenised anew in each call."""

    @property
    def identity(self) -> Identity:
        """Return who it is."""
        ...

    def label_all(self, texts: Sequence[str]) -> Labelled:
        """Return what it says of texts."""
        ...

    def run_all(self, texts: Sequence[str]) -> None:
        """Classify texts as fast as it can."""
        ...

    def run_one(self, text: str) -> None:
        """Classify one text."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each whole text, the special ones included."""
        ...


class BundleContender:
    """A bundle, run without torch.

    Args:
        folder: of the bundle.
        threads: that it may use.

    Raises:
        BundleError: the bundle is damaged, foreign or of a newer format.
    """

    def __init__(self, folder: Path, *, threads: int) -> None:
        from distilora.bundles.bundle import open_bundle

        self._bundle = open_bundle(folder, threads=threads)

    @property
    def identity(self) -> Identity:
        """Return who it is."""
        from distilora.bundles.storage import shipped_bytes

        manifest = self._bundle.manifest
        return Identity(
            name=manifest.name,
            kind="bundle" if manifest.kind == "model" else "ensemble",
            precision=manifest.precision or self._members_precision(),
            labels=manifest.labels,
            size_bytes=shipped_bytes(self._bundle.path),
            bundle_id=self._bundle.id,
        )

    def _members_precision(self) -> str | None:
        from distilora.bundles.manifest import MEMBERS_FOLDER
        from distilora.bundles.storage import read_manifest

        folder = self._bundle.path / MEMBERS_FOLDER
        found = {read_manifest(folder / member.name).precision for member in self._bundle.manifest.members}
        return found.pop() if len(found) == 1 else None

    def label_all(self, texts: Sequence[str]) -> Labelled:
        """Return what it says of texts."""
        predictions = self._bundle.predict(texts)
        labels = predictions.probabilities.argmax(axis=1).tolist()
        return Labelled(labels, _operations(self._bundle.manifest, predictions.tokens))

    def run_all(self, texts: Sequence[str]) -> None:
        """Classify texts as fast as it can."""
        self._bundle.predict(texts)

    def run_one(self, text: str) -> None:
        """Classify one text."""
        self._bundle.predict([text])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each whole text, the special ones included; of an ensemble by the member with most."""
        counts: list[list[int]] = [encoder.encode(texts).tokens.tolist() for encoder in self._encoders]
        return [max(of_one) for of_one in zip(*counts, strict=True)]

    @cached_property
    def _encoders(self) -> list[TextEncoder]:
        from distilora.bundles.manifest import TOKENIZER_FILE
        from distilora.bundles.storage import read_bundle
        from distilora.bundles.tokens import TextEncoder

        stored = read_bundle(self._bundle.path)
        return [
            TextEncoder(
                model.contents[TOKENIZER_FILE],
                max_length=self._bundle.max_length,
                where=str(model.path / TOKENIZER_FILE),
            )
            for model in (stored.members.values() or [stored])
        ]


def _operations(manifest: Manifest, tokens: NDArray[np.int64]) -> float | None:
    if manifest.work is None or manifest.max_length is None:
        return None
    return sum(manifest.work.operations(length) for length in tokens.clip(max=manifest.max_length).tolist())


def find_contender(path: Path) -> Path:
    """Return the folder of the bundle or of the one trained run that a path means; its model is not opened.

    Args:
        path: of a bundle, or ``EXPERIMENT/METHOD/seed-N``, or ``EXPERIMENT/METHOD`` for its seed that is best on
            validation.

    Raises:
        BundleError: it is a damaged bundle, or neither a bundle nor a run.
        RunError: it is a run without a model.
        MissingExtraError: it is a run, and the libraries for running it are not installed.
    """
    from distilora.bundles.storage import is_bundle, read_manifest

    if not _looks_like_run(path) or is_bundle(path):
        read_manifest(path)
        return path
    _require_train_extra()
    from distilora.export.finding import find_run

    run = find_run(path)
    if run.result.kind == "ensemble":
        raise RunError(
            f"{path}: is the run of an ensemble, which has no model of its own; distilora export {path} OUT makes a "
            "bundle of it"
        )
    return run.folder


def open_contender(folder: Path, *, threads: int) -> Contender:
    """Return a bundle or a trained run, ready to classify.

    Args:
        folder: as :func:`find_contender` returns it.
        threads: that it may use.

    Raises:
        BundleError: the bundle is damaged, foreign or of a newer format.
        RunError: the run cannot be read.
        ModelError: the run's model cannot be opened.
    """
    from distilora.bundles.storage import is_bundle

    if is_bundle(folder):
        return BundleContender(folder, threads=threads)
    from distilora.bench.trained import RunContender

    return RunContender(folder, threads=threads)


def _looks_like_run(path: Path) -> bool:
    try:
        return (path / "result.json").is_file() or any(path.glob("seed-*/result.json"))
    except OSError:  # reading it as a bundle tells why
        return False


def _require_train_extra() -> None:
    for library in _TRAIN_LIBRARIES:
        if find_spec(library) is None:
            raise MissingExtraError(library, "train")
