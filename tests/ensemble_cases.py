"""An experiment with ensembles whose members hold random weights: for tests that average runs and train none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distilora.evaluation.metrics import evaluate_logits
from distilora.experiment.baseline_runs import run_baselines
from distilora.experiment.ensembles import average_run
from distilora.experiment.materials import Materials, prepare
from distilora.models.encoders import load_classifier, save_trained
from distilora.models.inference import compute_logits
from distilora.runs import (
    MODEL_FOLDER,
    RunRecord,
    claim_experiment,
    complete_run,
    load_experiment,
    partial_folder,
    read_run,
    run_folder,
    with_labels,
)
from report_cases import run
from tiny_experiment import tiny_settings

BOTH = "odd+even"
METHODS = ("teacher", "odd", "even", BOTH)


@dataclass(frozen=True, eq=False)
class Averaged:
    """An experiment on two seeds of teacher, odd, even and the ensemble of the latter two."""

    folder: Path
    materials: Materials

    @property
    def records(self) -> list[RunRecord]:
        """Return all its runs, as they are read from its folder."""
        return load_experiment(self.folder)

    def run(self, method: str, seed: int = 0) -> RunRecord:
        return read_run(run_folder(self.folder, method, seed))


def save_averaged_experiment(folder: Path) -> Averaged:
    """Return an experiment that is complete but for report and bundles."""
    data = {"source": str(folder / "home" / "comments.csv"), "positive": ["toxic"]}
    settings = tiny_settings(folder / "home", run=METHODS, seeds=(0, 1), data=data, export={"precision": "fp32"})
    materials, experiment = prepare(settings), folder / "runs"
    claim_experiment(experiment, materials.identity)
    run_baselines(materials, experiment)
    for seed in settings.seeds:
        # Of these draws, odd is better with seed 0 and the ensemble with seed 1.
        draws = {"teacher": 4 + seed, "odd": 2 * seed, "even": 1 + 2 * seed}
        members = {
            method: save_member(method, materials, experiment, seed=seed, draw=draw) for method, draw in draws.items()
        }
        average(BOTH, materials, experiment, members, seed=seed)
    return Averaged(experiment, materials)


def average(
    name: str, materials: Materials, experiment: Path, members: Mapping[str, RunRecord], *, seed: int = 0
) -> RunRecord:
    """Return the run of an ensemble."""
    return average_run(materials.settings.method(name), materials, experiment, seed=seed, members=members)


def save_member(method: str, materials: Materials, experiment: Path, *, seed: int = 0, draw: int = 0) -> RunRecord:
    """Return a complete run whose model's weights are drawn with ``draw``; it says each class of half of the rows."""
    model = _leaning(load_classifier(materials.encoder, labels=materials.label_names, seed=draw).model, materials)
    partial, final = partial_folder(experiment, method, seed), run_folder(experiment, method, seed)
    save_trained(model, materials.tokenizer, partial / MODEL_FOLDER)
    logits = {part: compute_logits(model, materials.texts[part]) for part in ("validation", "test")}
    found = {
        part: evaluate_logits(said, materials.labels[part], label_names=materials.label_names)
        for part, said in logits.items()
    }
    layers = None if method == "teacher" else (1, 2, 3, 4)
    identity = {"data": materials.data_identity, "encoder": materials.encoder_identity}
    result = run(method, seed=seed, layers=layers, names=materials.label_names, **identity, **found).result
    complete_run(partial, final, result=result, logits=with_labels(logits, materials.labels))
    return read_run(final)


def _leaning(model: PreTrainedModel, materials: Materials) -> PreTrainedModel:
    """Return a new classifier that is as sure of its answers as a trained one, and does not always say the same."""
    with torch.no_grad():
        model.classifier.weight *= 40
        logits = compute_logits(model, materials.texts["validation"])
        model.classifier.bias[0] += float(np.median(logits[:, 1] - logits[:, 0]))
    return model


def shares(logs: NDArray[np.floating] | None) -> NDArray[np.floating]:
    """Return the probabilities that a run's stored logarithms stand for."""
    assert logs is not None
    return np.exp(logs)
