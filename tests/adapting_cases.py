"""Runs whose trainings adapted their weights, layers and ranks, built in code for the tests of reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distilora.runs import HistoryEntry, RunRecord
from distilora.training.records import Event
from report_cases import run

STEPS = (20, 40, 60, 80, 100, 120)
EPOCH = 40
"""Steps of an epoch."""


def trained(method: str, history: Sequence[HistoryEntry], *, seed: int = 0, **changes: Any) -> RunRecord:
    """Return a run with a history of its own; it keeps its last epoch."""
    return replace(
        run(method, seed=seed, **{"rows": 60, "epochs": 3, "best_epoch": 3, **changes}), history=tuple(history)
    )


def stretch(step: int, **known: Any) -> HistoryEntry:
    """Return an entry of training."""
    losses = {"hard": 20 / step, "soft": 40 / step, "total": 36 / step}
    return HistoryEntry(part="train", step=step, epoch=step / EPOCH, losses=losses, **known)


def validated(epoch: int, **known: Any) -> HistoryEntry:
    """Return an entry on validation rows."""
    scores = {"accuracy": 0.7 + epoch / 50, "macro_f1": 0.6 + epoch / 50}
    return HistoryEntry(
        part="validation", step=EPOCH * epoch, epoch=epoch, losses={"total": 1 / epoch}, **scores, **known
    )


def balanced(seed: int = 0, *, method: str = "odd-dwa") -> RunRecord:
    """Return a student whose loss weights went from 0.2 and 0.8 to 0.2 + 0.1 · (seed + 1) and what is left of 1."""
    ends = [0.2 + 0.1 * (seed + 1) * index / (len(STEPS) - 1) for index in range(len(STEPS))]
    history = [stretch(step, weights={"hard": hard, "soft": 1 - hard}) for step, hard in zip(STEPS, ends, strict=True)]
    return trained(method, history, seed=seed)


def matched(seed: int = 0, *, method: str = "odd-tinybert") -> RunRecord:
    """Return a student of three layers whose pairs weigh 0.7, 1.1 and 1.2 in the end, for later seeds a little else."""
    end = (0.7 + 0.1 * seed, 1.1 - 0.1 * seed, 1.2)
    fixed = {"hard": 0.2, "soft": 0.8}
    history = [stretch(step, weights=fixed, pair_weights=(1.0, 1.0, 1.0)) for step in STEPS[:-1]]
    return trained(method, [*history, stretch(STEPS[-1], weights=fixed, pair_weights=end)], seed=seed)


def grown(seed: int = 0, *, method: str = "lora-grow") -> RunRecord:
    """Return LoRA whose rank went from 8 to 16 after step 40, and to 32 after step 80 where the seed is even."""
    ranks = [8, 8, 16, 16, 16 if seed % 2 else 32, 16 if seed % 2 else 32]
    return trained(method, [stretch(step, rank=rank) for step, rank in zip(STEPS, ranks, strict=True)], seed=seed)


def joint(seed: int = 0, *, method: str = "joint") -> RunRecord:
    """Return joint training of three layers, each better than the one before and in each epoch."""
    history = [
        validated(epoch, layer_macro_f1=tuple(0.3 + 0.1 * layer + 0.05 * epoch + 0.01 * seed for layer in (1, 2, 3)))
        for epoch in (1, 2, 3)
    ]
    weights = {"hard": 0.2, "soft": 0.8}
    return trained(method, [*(stretch(step, weights=weights) for step in STEPS), *history], seed=seed)


def event(kind: str, *, step: int = 60, action: str = "warn", message: str = "it was seen") -> Event:
    return Event.model_validate(
        {"step": step, "epoch": step / EPOCH, "kind": kind, "value": 1.5, "message": message, "action": action}
    )


def with_events(record: RunRecord, *events: Event) -> RunRecord:
    return replace(record, result=record.result.model_copy(update={"events": events}))


def adapting_runs(*, seeds: int = 2) -> list[RunRecord]:
    """Return one method of each way to adapt, beside one whose weights hold still."""
    still = [trained("odd", [stretch(step, weights={"hard": 0.2, "soft": 0.8}) for step in STEPS], seed=seed)
             for seed in range(seeds)]  # fmt: skip
    makers = (balanced, matched, grown, joint)
    return [
        *still,
        *(make(seed) for make in makers for seed in range(seeds)),
        trained("teacher", [], seed=0),
        trained("teacher", [], seed=1),
    ]
