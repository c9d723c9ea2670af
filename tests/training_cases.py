"""A training of a tiny classifier on made-up comments, below the level of an experiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distilora.config import TrainingSettings
from distilora.data.batches import LabelledRows
from distilora.data.tokens import encode_texts
from distilora.evaluation.metrics import macro_f1
from distilora.losses.objective import Objective
from distilora.models.encoders import find_encoder, load_classifier
from distilora.models.inference import compute_logits
from distilora.training.loop import TrainingTask
from tiny import tiny_tokenizer
from tiny_experiment import comments

SETTINGS = TrainingSettings(
    epochs=2, learning_rate=2e-3, batch_size=8, dropout=0.0, patience=0, precision="fp32", threads=1, logging_steps=3
)


def rows(count: int, *, seed: int, teacher: PreTrainedModel | None = None) -> LabelledRows:
    """Return comments of this seed ready for training, with the teacher's logits where there is one."""
    pairs = comments(rows=count, seed=seed)
    texts = encode_texts([text for text, _ in pairs], tiny_tokenizer(), max_length=16)
    labels = np.array([int(label == "toxic") for _, label in pairs])
    return LabelledRows(texts, labels, None if teacher is None else compute_logits(teacher, texts))


def classifier(encoder: Path, *, seed: int = 0, dropout: float = 0.0) -> PreTrainedModel:
    """Return a new classifier on the encoder in this folder."""
    return load_classifier(find_encoder(str(encoder)), labels=("civil", "toxic"), dropout=dropout, seed=seed).model


def task(folder: Path, settings: TrainingSettings = SETTINGS, **changes: Any) -> TrainingTask:
    """Return a training on 50 rows, seven steps an epoch, with checkpoints in ``folder``."""
    usual = TrainingTask(
        settings=settings,
        objective=Objective(),
        train=rows(50, seed=1),
        validation=rows(30, seed=2),
        seed=0,
        folder=folder,
        title="a test",
    )
    return replace(usual, **changes)


def scores(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return what a training needs to know of its validation rows."""
    return {"macro_f1": macro_f1(logits, labels)}
