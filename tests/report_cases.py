"""Finished runs built in code, for the tests of reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distilora.evaluation.metrics import evaluate_logits
from distilora.runs import DataIdentity, EncoderIdentity, HistoryEntry, Result, RunRecord

ROWS = 240
NAMES = ("hate speech", "offensive", "neither")
SIZES = {"teacher": 90_900_000, "student": 69_600_000, "lora": 92_300_000, "baseline": 1_200_000}


def kind_of(method: str) -> str:
    if method in {"majority", "tfidf"}:
        return "baseline"
    return "teacher" if method == "teacher" else "lora" if "lora" in method else "student"


def run(
    method: str,
    *,
    good: float = 2.0,
    seed: int = 0,
    void: str | None = None,
    names: tuple[str, ...] = NAMES,
    constant: bool = False,
    history: bool = True,
    rows: int = ROWS,
    wrong: Sequence[int] | None = None,
    **changes: Any,
) -> RunRecord:
    """Return a run whose logits lean by ``good`` to the true class; all runs share the hard rows.

    With ``wrong`` it says the true class of all rows but these, and the next class of these.
    """
    labels = np.random.default_rng(1).choice(len(names), rows).astype(np.int64)
    logits = np.random.default_rng(2).normal(size=(rows, len(names)))
    logits += 0.5 * np.random.default_rng([len(method), ord(method[0]), seed]).normal(size=logits.shape)
    logits[np.arange(rows), labels] += good
    if constant:
        logits[:] = np.eye(len(names))[0]
    if wrong is not None:
        said = labels.copy()
        said[list(wrong)] = (said[list(wrong)] + 1) % len(names)
        logits = 3.0 * np.eye(len(names))[said]
    evaluation = None if void else evaluate_logits(logits, labels, label_names=names)
    kind = kind_of(method)
    result = Result.model_validate(
        {
            "method": method,
            "kind": kind,
            "seed": seed,
            "void": void,
            "data": DataIdentity(
                source="comments.csv",
                sha256="a" * 64,
                rows=10 * rows,
                label_names=names,
                positive=names[:1],
                split_seed=1150,
                part_rows={"train": 8 * rows, "validation": rows, "test": rows},
            ),
            "encoder": None if kind == "baseline" else EncoderIdentity(name="minilm", sha256="b" * 64, max_length=128),
            "layers": (1, 3, 5) if kind == "student" else None,
            "parameters": None if method == "majority" else SIZES[kind] // 4,
            "trainable_parameters": {"lora": 330_000, "baseline": None}.get(kind, SIZES[kind] // 4),
            "size_bytes": None if method == "majority" else SIZES[kind],
            "training_seconds": None if kind == "baseline" else 100.0 + seed,
            "epochs": None if kind == "baseline" else 2,
            "best_epoch": None if kind == "baseline" else 2,
            "guards": () if kind == "baseline" else ("splits", "reload"),
            "validation": evaluation,
            "test": evaluation,
            "versions": {"distilora": "0.1.0"},
            "machine": "a processor, 2 threads, float32",
            **changes,
        }
    )
    return RunRecord(
        result=result,
        history=_history() if history and kind != "baseline" else (),
        test_labels=None if void else labels,
        test_predictions=None if void else logits.argmax(axis=1),
        folder=Path(method) / f"seed-{seed}",
        test_logits=None if void else logits,
    )


def _history() -> tuple[HistoryEntry, ...]:
    entries = []
    for step in range(1, 9):
        losses = {"hard": 1 / step, "soft": 2 / step, "total": 1.8 / step}
        entries.append(HistoryEntry(part="train", step=step, epoch=step / 4, losses=losses, learning_rate=1e-4))
        if step % 4 == 0:
            scores = {"accuracy": 0.8 + step / 100, "macro_f1": 0.7 + step / 100}
            entries.append(
                HistoryEntry(part="validation", step=step, epoch=step / 4, losses={"total": 2 / step}, **scores)
            )
    return tuple(entries)


def usual_runs(*, seeds: int = 1, names: tuple[str, ...] = NAMES) -> list[RunRecord]:
    """Return both baselines, a teacher, two students of which one is void, and LoRA."""
    good = {"teacher": 2.4, "odd": 2.3, "lora": 1.9}
    runs = [run(method, good=g, seed=s, names=names) for method, g in good.items() for s in range(seeds)]
    runs += [run("even", seed=s, names=names, void="constant predictions: always hate speech") for s in range(seeds)]
    return [*runs, run("tfidf", good=1.2, names=names), run("majority", constant=True, names=names)]
