"""The history of a run, out of what its training logged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from distilora.runs import HistoryEntry
from distilora.training.loop import Training

_EVALUATION = "eval_"


def history_of(training: Training) -> list[HistoryEntry]:
    """Return an entry for each stretch of training steps and each evaluation, in order."""
    entries: list[HistoryEntry] = []
    for logged in training.log:
        if "loss" in logged:
            entries.append(_trained(logged, training.ranks))
        elif f"{_EVALUATION}loss" in logged:
            entries.append(_evaluated(logged))
    return entries


def _trained(logged: Mapping[str, Any], ranks: tuple[float, ...]) -> HistoryEntry:
    epoch = max(1, math.ceil(logged["epoch"]))
    return HistoryEntry(
        part="train",
        step=logged["step"],
        epoch=logged["epoch"],
        losses={**_named(logged, "loss_"), "total": logged["loss"]},
        weights=_named(logged, "weight_"),
        pair_weights=tuple(logged.get("pair_weights", ())),
        rank=ranks[epoch - 1] if epoch <= len(ranks) else None,
        learning_rate=logged.get("learning_rate"),
    )


def _evaluated(logged: Mapping[str, Any]) -> HistoryEntry:
    return HistoryEntry(
        part="validation",
        step=logged["step"],
        epoch=logged["epoch"],
        losses={**_named(logged, f"{_EVALUATION}loss_"), "total": logged[f"{_EVALUATION}loss"]},
        layer_macro_f1=tuple(logged.get(f"{_EVALUATION}layer_macro_f1", ())),
        accuracy=logged.get(f"{_EVALUATION}accuracy"),
        macro_f1=logged.get(f"{_EVALUATION}macro_f1"),
    )


def _named(logged: Mapping[str, Any], prefix: str) -> dict[str, float]:
    # A checkpoint keeps the log with its keys sorted, so that is the order which a resumed training can keep to.
    return {key.removeprefix(prefix): logged[key] for key in sorted(logged) if key.startswith(prefix)}
