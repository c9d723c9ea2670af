"""The rows of the table that any model must beat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from distilora.evaluation.baselines import Baseline, majority_baseline
from distilora.evaluation.metrics import evaluate_logits
from distilora.experiment.materials import Materials
from distilora.experiment.provenance import machine, versions
from distilora.runs import Result, RunRecord, claim_run, complete_run, read_run, run_folder, with_labels

logger = logging.getLogger(__name__)
_SEED = 0  # neither baseline draws anything
Fit = Callable[[], Baseline]


def run_baselines(materials: Materials, experiment: Path) -> list[RunRecord]:
    """Return the runs of the majority class and of TF-IDF with logistic regression."""
    return [
        _baseline_run("majority", _majority, materials, experiment),
        _baseline_run("tfidf", _tfidf, materials, experiment),
    ]


def _majority(materials: Materials) -> Fit:
    return lambda: majority_baseline(
        materials.labels["train"],
        classes=len(materials.label_names),
        validation_rows=len(materials.labels["validation"]),
        test_rows=len(materials.labels["test"]),
    )


def _tfidf(materials: Materials) -> Fit:
    # Loading scikit-learn takes as long as many a fit: only where one is made, and before its clock starts.
    from distilora.evaluation.tfidf import tfidf_baseline

    return lambda: tfidf_baseline(
        materials.words("train"),
        materials.labels["train"],
        materials.words("validation"),
        materials.labels["validation"],
        materials.words("test"),
    )


def _baseline_run(name: str, prepared: Callable[[Materials], Fit], materials: Materials, experiment: Path) -> RunRecord:
    final = run_folder(experiment, name, _SEED)
    partial = claim_run(experiment, name, _SEED, {"seed": _SEED, "method": {"name": name, "kind": "baseline"}})
    if partial is None:
        return read_run(final)
    fit = prepared(materials)
    began = time.perf_counter()
    baseline = fit()
    seconds = time.perf_counter() - began
    logger.info("%s: %s", name, baseline.notes)
    logits = {"validation": baseline.validation_logits, "test": baseline.test_logits}
    result = Result(
        method=name,
        kind="baseline",
        seed=_SEED,
        data=materials.data_identity,
        parameters=baseline.parameters,
        trainable_parameters=baseline.parameters,
        training_seconds=seconds,
        validation=evaluate_logits(
            logits["validation"], materials.labels["validation"], label_names=materials.label_names
        ),
        test=evaluate_logits(logits["test"], materials.labels["test"], label_names=materials.label_names),
        versions=versions(),
        machine=machine(),
    )
    complete_run(partial, final, result=result, logits=with_labels(logits, materials.labels))
    return read_run(final)
