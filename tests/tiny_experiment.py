"""A whole experiment that takes seconds: made-up comments of a few words, a tiny encoder, few epochs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from distilora.config import ExperimentSettings
from tiny import save_tiny_encoder

_FILLERS = (
    "a",
    "about",
    "all",
    "and",
    "dog",
    "day",
    "do",
    "he",
    "i",
    "in",
    "it",
    "me",
    "of",
    "on",
    "people",
    "so",
    "the",
    "to",
)
_MARKS = {
    "toxic": ("idiot", "idiots", "stupid", "ugly", "awful", "worst", "rude", "hate"),
    "civil": ("nice", "lovely", "kind", "thank", "great", "please", "good", "better"),
}


def comments(*, rows: int = 200, seed: int = 0) -> list[tuple[str, str]]:
    """Return comments of 3 to 8 words, of which two or three tell the class, with their class; no two are equal."""
    draw = np.random.default_rng(seed)
    made = []
    for row in range(rows):
        label = ("toxic", "civil")[row % 5 > 1]
        words = draw.choice(_FILLERS, size=draw.integers(1, 6)).tolist()
        for mark in draw.choice(_MARKS[label], size=draw.integers(2, 4)).tolist():
            words.insert(int(draw.integers(0, len(words) + 1)), mark)
        made.append((f"{' '.join(words)} {row}", label))
    return made


def save_comments(path: Path, *, rows: int = 200, seed: int = 0) -> Path:
    """Return ``path``, which now holds :func:`comments` as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *comments(rows=rows, seed=seed)])
    return path


def tiny_settings(folder: Path, *, family: str = "bert", epochs: int = 3, **changes: Any) -> ExperimentSettings:
    """Return the settings of an experiment whose comments and encoder lie in ``folder``, made there if absent.

    Args:
        folder: for both.
        family: of the encoder.
        epochs: of every method.
        changes: further tables, put over these.
    """
    folder.mkdir(parents=True, exist_ok=True)
    comments, encoder = folder / "comments.csv", folder / family
    if not comments.exists():
        save_comments(comments)
    if not encoder.exists():
        save_tiny_encoder(encoder, family)
    training = {
        "epochs": epochs,
        "learning_rate": 2e-3,
        "batch_size": 8,
        "patience": 0,
        "precision": "fp32",
        "threads": 1,
        "logging_steps": 4,
    }
    return ExperimentSettings.model_validate(
        {
            "data": {"source": str(comments)},
            "encoder": {"name": str(encoder), "max_length": 32},
            **changes,
            "training": {**training, **changes.get("training", {})},
            "methods": {"lora": {"training": {"learning_rate": 5e-3, "epochs": 5}}, **changes.get("methods", {})},
        }
    )
