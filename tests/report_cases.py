"""Finished runs, and what was measured of them, built in code for the tests of reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilora.config import ReportSettings
from distilora.evaluation.metrics import evaluate_logits
from distilora.report.evidence import Evidence
from distilora.runs import DataIdentity, EncoderIdentity, HistoryEntry, Result, RunRecord
from evidence_cases import costs_of, layers_of, noise_of, rows_of, search_of, suites_of

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

    With ``wrong`` it says the true class of all rows but these, and the next class of these. The validation rows are
    others, which it answers in the same way.
    """
    leaning = {"good": good, "rows": rows, "classes": len(names), "constant": constant, "wrong": wrong}
    labels, logits = _answers([1], [2], [len(method), ord(method[0]), seed], **leaning)
    asked, answered = _answers([1, 1], [2, 1], [len(method), ord(method[0]), seed, 1], **leaning)
    evaluation = None if void else evaluate_logits(logits, labels, label_names=names)
    validation = None if void else evaluate_logits(answered, asked, label_names=names)
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
            "training_memory_mib": None if kind == "baseline" else 900.0 + 10 * seed,
            "epochs": None if kind == "baseline" else 2,
            "best_epoch": None if kind == "baseline" else 2,
            "guards": () if kind == "baseline" else ("splits", "reload"),
            "validation": validation,
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
        validation_labels=None if void else asked,
        validation_logits=None if void else answered,
    )


def _answers(
    label_seed: list[int], hard_seed: list[int], own_seed: list[int], **leaning: Any
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels and logits of one part, as :func:`run` says."""
    rows, classes, wrong = leaning["rows"], leaning["classes"], leaning["wrong"]
    labels = np.random.default_rng(label_seed).choice(classes, rows).astype(np.int64)
    logits = np.random.default_rng(hard_seed).normal(size=(rows, classes))
    logits += 0.5 * np.random.default_rng(own_seed).normal(size=logits.shape)
    logits[np.arange(rows), labels] += leaning["good"]
    if leaning["constant"]:
        logits[:] = np.eye(classes)[0]
    if wrong is not None:
        said = labels.copy()
        said[list(wrong)] = (said[list(wrong)] + 1) % classes
        logits = 3.0 * np.eye(classes)[said]
    return labels, logits


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


def of(runs: Sequence[RunRecord], method: str) -> list[RunRecord]:
    """Return the runs of one method."""
    return [one for one in runs if one.result.method == method]


def nameless(record: RunRecord) -> RunRecord:
    """Return a run of data that names no positive classes."""
    data = record.result.data.model_copy(update={"positive": ()})
    return replace(record, result=record.result.model_copy(update={"data": data}))


def usual_evidence(
    runs: Sequence[RunRecord] | None = None, *, goal: str = "f1", settings: ReportSettings | None = None
) -> Evidence:
    """Return all that can be measured of these runs, or of the usual ones: costs, noise, layers, suites and texts.

    The layers of a method called ``searched`` were searched.
    """
    valid = [one for one in (usual_runs() if runs is None else runs) if one.result.test is not None]
    models = [one for one in valid if one.result.kind != "baseline"]
    firsts = {one.result.method: one for one in reversed(models)}  # a run for each method, its first
    return Evidence(
        costs=costs_of(list(firsts.values())),
        noise={(one.result.method, one.result.seed): noise_of(one) for one in models},
        layers=tuple(layers_of(one, compared=models) for one in models if one.result.kind == "teacher"),
        searches={
            (one.result.method, one.result.seed): search_of(one) for one in models if one.result.method == "searched"
        },
        suites=suites_of(list(firsts.values())),
        test_rows=rows_of(valid[0]),
        settings=settings or ReportSettings(),
        goal=goal,
    )
