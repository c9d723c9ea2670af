"""The rows that a method learns from: those of the split, changed copies of them, and comments without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.config import MethodSettings
from distilora.data.augmentation import augmented
from distilora.data.batches import LabelledRows
from distilora.data.tokens import EncodedTexts
from distilora.experiment.materials import Materials
from distilora.experiment.teachers import Teacher
from distilora.losses.objective import UNLABELLED
from distilora.training.arguments import uses_bf16


def training_rows(method: MethodSettings, materials: Materials, *, seed: int, teacher: Teacher | None) -> LabelledRows:
    """Return the rows of a method, with what its teacher says of each where it learns from one.

    Args:
        method: its settings.
        materials: of the experiment.
        seed: of the changes to copies.
        teacher: absent for a method that learns from labels alone.

    Raises:
        ConfigError: there is no such change.
    """
    texts, labels = [materials.texts["train"]], [materials.labels["train"]]
    if method.training.augment:
        copies = _copies(method, materials, seed=seed)
        texts.append(copies[0])
        labels.append(copies[1])
    if uses_unlabelled(method, materials):
        further = materials.unlabelled_texts
        texts.append(further)
        labels.append(np.full(len(further), UNLABELLED, dtype=np.int64))
    logits = None
    if teacher is not None:
        bf16 = uses_bf16(method.training)
        logits = np.concatenate([teacher.train_logits, *(teacher.logits(more, bf16=bf16) for more in texts[1:])])
    return LabelledRows(_joined(texts), np.concatenate(labels), logits)


def uses_unlabelled(method: MethodSettings, materials: Materials) -> bool:
    """Return whether a method learns from comments without labels."""
    return materials.unlabelled is not None and method.learns_from == "teacher" and method.distillation.unlabelled


def _copies(method: MethodSettings, materials: Materials, *, seed: int) -> tuple[EncodedTexts, NDArray[np.int64]]:
    words, labels = materials.words("train"), materials.labels["train"]
    settings = method.training
    rows = augmented(words, labels, kinds=settings.augment, copies=settings.augment_copies, seed=seed)
    return materials.encoded(rows.texts[len(words) :]), rows.labels[len(words) :]


def _joined(parts: Sequence[EncodedTexts]) -> EncodedTexts:
    lengths = np.concatenate([part.lengths for part in parts])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return EncodedTexts(ids=np.concatenate([part.ids for part in parts]), starts=starts, pad_id=parts[0].pad_id)
