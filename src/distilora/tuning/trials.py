"""What a search has trained: the methods that others need, and a trial. Nothing else here touches training.

A trial cannot look at the test rows: it is given materials in which there are none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from distilora.config import SEARCH, MethodSettings
from distilora.errors import RunError
from distilora.experiment.fitting import fit
from distilora.experiment.materials import Materials
from distilora.experiment.run_progress import told
from distilora.experiment.runner import make_run
from distilora.runs import RunRecord
from distilora.training.threads import torch_threads
from distilora.tuning.running import Report, ScoreTrial

CHECKPOINTS = ".trial-checkpoints"


class EpochReport(TrainerCallback):  # type: ignore[misc]
    """Passes on the validation macro-F1 after each epoch; an error that the receiver raises ends the training."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def on_evaluate(
        self,
        args: Any,  # noqa: ARG002
        state: Any,
        control: Any,  # noqa: ARG002
        metrics: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Report the epoch that has just been evaluated."""
        if metrics is not None and "eval_macro_f1" in metrics:
            self._report(round(state.epoch), metrics["eval_macro_f1"])


def train_needed(
    names: Sequence[str],
    materials: Materials,
    folder: Path,
    *,
    seed: int,
    done: Callable[[str], None],
) -> dict[str, RunRecord]:
    """Return the runs that methods to be searched start or learn from, trained once, with their own settings.

    They are ordinary runs, which are evaluated on the test rows at their end as any; the search looks at none of that.

    Args:
        names: of those that are needed, each behind what it needs itself.
        materials: of the experiment.
        folder: of the search, where the runs stand as in any experiment.
        seed: of the search.
        done: takes a line on each run as it is there.

    Raises:
        RunError: one of them is void, so that nothing could be learnt from it.
    """
    runs: dict[str, RunRecord] = {}
    for name in names:
        run = make_run(name, materials, folder, seed=seed, parents=runs)
        if run.result.void is not None:
            raise RunError(
                f"{run.folder}: is void, and what is searched needs it: {run.result.void}; "
                "give other settings and another --out"
            )
        runs[name] = run
        done(told(run))
    return runs


def without_test_rows(materials: Materials) -> Materials:
    """Return the same materials with no test rows in them."""
    return replace(
        materials,
        texts={part: texts for part, texts in materials.texts.items() if part != "test"},
        labels={part: labels for part, labels in materials.labels.items() if part != "test"},
    )


def score_with(materials: Materials, folder: Path, *, seed: int, parents: Mapping[str, RunRecord]) -> ScoreTrial:
    """Return what trains a method with given settings and tells its validation macro-F1.

    Args:
        materials: of the experiment.
        folder: of the search; a trial's checkpoints stand in it until its end.
        seed: of all that is drawn at random, the same for every trial.
        parents: the runs that the method starts or learns from, by method.
    """
    seen = without_test_rows(materials)
    layers: str | None = None  # once they were searched: no setting that is tried changes what is found

    def score(method: MethodSettings, report: Report) -> float:
        nonlocal layers
        if layers is not None:
            method = method.model_copy(update={"layers": layers})
        checkpoints = folder / CHECKPOINTS
        shutil.rmtree(checkpoints, ignore_errors=True)  # of a trial that was killed
        try:
            with torch_threads(method.training.threads):
                fitted = fit(
                    method, seen, seed=seed, parents=parents, checkpoints=checkpoints, callbacks=[EpochReport(report)]
                )
        finally:
            shutil.rmtree(checkpoints, ignore_errors=True)
        if method.layers == SEARCH:
            layers = ",".join(map(str, fitted.candidate.layers or ()))
        return fitted.validation.macro_f1

    return score
