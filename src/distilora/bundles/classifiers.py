"""One model with its tokenizer: texts in, logits out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.batching import batches, padded
from distilora.bundles.manifest import MODEL_FILE, TOKENIZER_FILE
from distilora.bundles.pipeline import Prepared
from distilora.bundles.predictions import calibrated
from distilora.bundles.sessions import Session
from distilora.bundles.storage import StoredBundle
from distilora.bundles.tokens import LongTexts, Pieces, TextEncoder
from distilora.errors import BundleError


@dataclass(frozen=True, eq=False)
class Scored:
    """What one model says of some texts."""

    logits: NDArray[np.float32]
    """Of the piece that counts for each text, shape (texts, classes)."""
    tokens: NDArray[np.int64]
    """Of each whole text, shape (texts,)."""
    cut: NDArray[np.bool_]
    """Shape (texts,)."""


class Classifier:
    """The one model of a bundle.

    Args:
        stored: a bundle that is no ensemble.

    Raises:
        BundleError: model or tokenizer cannot be used, or do not fit each other.
    """

    def __init__(self, stored: StoredBundle) -> None:
        manifest = stored.manifest
        if manifest.temperature is None or manifest.max_length is None or manifest.pad_id is None:
            raise BundleError(f"{stored.path}: is no single model")
        self.temperature = manifest.temperature
        self.max_length = manifest.max_length
        self._pad_id = manifest.pad_id
        self._classes = len(manifest.labels)
        self._positive = positions(manifest.positive, among=manifest.labels)
        self._encoder = TextEncoder(
            stored.contents[TOKENIZER_FILE],
            max_length=manifest.max_length,
            where=str(stored.path / TOKENIZER_FILE),
        )
        self._session = Session(stored.contents[MODEL_FILE], classes=self._classes, where=str(stored.path / MODEL_FILE))
        self._try()

    def prepared(
        self, texts: Sequence[str], *, long_texts: LongTexts, threads: int
    ) -> Prepared[NDArray[np.float32], Scored]:
        """Return the texts tokenised and in batches, one task each."""
        pieces = self._encoder.encode(texts, long_texts=long_texts)
        rows = batches(pieces.lengths, threads=threads)
        return Prepared(
            tasks=[partial(self._logits, pieces, batch) for batch in rows],
            finish=partial(self._scored, pieces, rows),
        )

    def _logits(self, pieces: Pieces, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._session.logits(*padded(pieces, rows, pad_id=self._pad_id))

    def _scored(
        self, pieces: Pieces, rows: Sequence[NDArray[np.int64]], results: Sequence[NDArray[np.float32]]
    ) -> Scored:
        if len(pieces.lengths) == 1:
            return Scored(logits=results[0], tokens=pieces.tokens, cut=pieces.cut)
        logits = np.empty((len(pieces.lengths), self._classes), dtype=np.float32)  # (pieces, classes)
        for batch, result in zip(rows, results, strict=True):
            logits[batch] = result
        if len(logits) > len(pieces.tokens):
            logits = logits[self._strongest(logits, pieces.texts)]
        return Scored(logits=logits, tokens=pieces.tokens, cut=pieces.cut)

    def _strongest(self, logits: NDArray[np.float32], texts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which piece counts for each text: the one most probably positive, or the one that is surest."""
        probabilities = calibrated(logits, temperature=self.temperature)
        strength = probabilities[:, self._positive].sum(axis=1) if self._positive else probabilities.max(axis=1)
        weakest_first = np.lexsort((strength, texts))
        return weakest_first[np.flatnonzero(np.diff(texts, append=-1))]

    def _try(self) -> None:
        """Run the model once on the special tokens, the largest id and a padding."""
        specials = self._encoder.encode([""]).ids.tolist()
        ids = np.array([[*specials, self._encoder.largest_id, self._pad_id]], dtype=np.int64)
        mask = np.ones_like(ids)
        mask[:, -1] = 0
        self._session.logits(ids, mask)


def positions(names: Sequence[str], *, among: Sequence[str]) -> list[int]:
    """Return where names stand in a list that has them all, ascending."""
    return sorted(among.index(name) for name in names)
