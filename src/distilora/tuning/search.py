"""The search itself: every method gets the same number of trials, each judged on validation rows alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from optuna.storages import RDBStorage
from optuna.study import Study

from distilora.config import ExperimentSettings, MethodSettings
from distilora.errors import ConfigError, RunError
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.methods import check_methods
from distilora.experiment.provenance import machine, versions
from distilora.experiment.training_runs import resolved
from distilora.progress import Progress
from distilora.runs import claim_experiment, locked, run_sha256
from distilora.tuning.output import require_own_files, tuned_experiment, write_tuning
from distilora.tuning.records import MethodSearch, TrialOutcome, Tuning, best_of
from distilora.tuning.running import Budget, outcomes, run_trials
from distilora.tuning.space import TUNED, distributions, tables_at
from distilora.tuning.studies import (
    DATABASE,
    finished_trials,
    keep_same,
    open_study,
    opened_storage,
    searched_methods,
)
from distilora.tuning.trials import score_with, train_needed
from distilora.tuning.wording import describe_trial

logger = logging.getLogger(__name__)


def tune(
    settings: ExperimentSettings,
    folder: Path,
    *,
    methods: Sequence[str],
    budget: Budget,
    tell: Callable[[str], None] = logger.info,
) -> tuple[Tuning, Path | None]:
    """Search better settings for each method, and return what was found with the experiment that tries it on test rows.

    A search that was broken off, even by kill -9, goes on when it is called again. Methods that were searched in the
    same folder before are brought to the same number of trials: what is compared must have had the same chances.

    Args:
        settings: of the experiment.
        folder: where the search is kept; one that holds another experiment or another search is refused.
        methods: names of those to search.
        budget: the trials of each, and their seed.
        tell: takes one line on what has been done.

    Returns:
        What was found, and the path of the experiment; the latter is absent where no trial came to its end.

    Raises:
        DistiloraError: comments, encoder, settings or folder cannot be used.
    """
    materials = prepare(_with_methods(settings, methods))
    check_methods(materials)
    with locked(folder):
        claim_experiment(folder, materials.identity)
        require_own_files(folder)
        with opened_storage(folder) as storage:
            settings = _with_methods(settings, [*_searched_before(storage, settings, folder), *methods])
            materials = replace(materials, settings=settings)
            searches = _open(storage, materials, folder, budget=budget)
            _run(searches, materials, folder, budget=budget, tell=tell)
            tuning = _found(searches, materials, budget)
        return tuning, write_tuning(folder, tuning, settings)


class _Search(NamedTuple):
    method: MethodSettings
    study: Study


def _with_methods(settings: ExperimentSettings, names: Sequence[str]) -> ExperimentSettings:
    """Return the experiment with these methods to run, once it is clear that they can be searched."""
    for name in names:
        if settings.method(name).kind == "ensemble":
            raise ConfigError(f'method "{name}" averages others and has no settings to search; search its members')
        if TUNED.format(name) in settings.methods:
            raise ConfigError(
                f"methods.{TUNED.format(name)}: what {name} is to be called with its best settings; rename yours"
            )
    unsearched = [
        MethodSearch(method=name, kind=settings.method(name).kind, tuned=TUNED.format(name), settings={}, trials=())
        for name in names
    ]
    tuned_experiment(settings, unsearched)  # refuses a name that is too long now, not at the end
    return settings.model_copy(update={"run": tuple(dict.fromkeys(names))})


def _searched_before(storage: RDBStorage, settings: ExperimentSettings, folder: Path) -> list[str]:
    names = searched_methods(storage)
    for name in names:
        try:
            settings.method(name)
        except ConfigError as error:
            raise RunError(f"{folder / DATABASE}: {name} was searched there; {error}; give another --out") from None
    return names


def _open(storage: RDBStorage, materials: Materials, folder: Path, *, budget: Budget) -> list[_Search]:
    """Return the searches, those of before first: where one of them is refused, no new one is begun."""
    searches = []
    for name in materials.settings.run:
        method = resolved(materials.settings.method(name), materials)
        identity = _identity(method, materials, seed=budget.seed)
        search = _Search(method, open_study(storage, name, identity=identity, folder=folder))
        _require_no_more(search, budget.trials, folder)
        searches.append(search)
    return searches


def _identity(method: MethodSettings, materials: Materials, *, seed: int) -> dict[str, Any]:
    """Return what must be the same for trials to be of one search."""
    space = {name: str(distribution) for name, distribution in distributions(method).items()}
    unlabelled = materials.unlabelled.sha256 if materials.unlabelled else None
    return {
        "seed": seed,
        "method": method.model_dump(),
        "space": space,
        "unlabelled_sha256": unlabelled,
        **materials.identity,
    }


def _require_no_more(search: _Search, trials: int, folder: Path) -> None:
    there = len(finished_trials(search.study))
    if there > trials:
        raise RunError(
            f"{folder / DATABASE}: has {there} trials of {search.method.name}, and {trials} are asked for: what is "
            f"compared must have had the same number; give --trials {there} or more, or another --out"
        )


def _run(
    searches: Sequence[_Search],
    materials: Materials,
    folder: Path,
    *,
    budget: Budget,
    tell: Callable[[str], None],
) -> None:
    """Train what is needed, then make the trials that are missing."""
    needed = _needed(materials.settings)
    missing = sum(budget.trials - len(finished_trials(study)) for _, study in searches)
    progress = Progress(total=len(needed) + missing, tell=tell)
    runs = train_needed(needed, materials, folder, seed=budget.seed, done=progress.tell_of)
    for search in searches:
        parents = {name: runs[name] for name in search.method.needs}
        hashes = {name: run_sha256(run.folder) for name, run in parents.items()}
        keep_same(search.study, "needs", hashes, folder=folder)
        score = score_with(materials, folder, seed=budget.seed, parents=parents)
        run_trials(search.study, search.method, budget, score=score, done=partial(_tell_of, search, progress))


def _tell_of(search: _Search, progress: Progress, trial: TrialOutcome) -> None:
    progress.tell_of(describe_trial(search.method.name, trial, best=best_of(outcomes(search.study))))


def _needed(settings: ExperimentSettings) -> list[str]:
    """Return the methods that those to be searched start or learn from, each behind what it needs itself."""
    needed: set[str] = set()
    for name in reversed(settings.method_names):  # each before what it needs
        if name in settings.run or name in needed:
            needed.update(settings.method(name).needs)
    return [name for name in settings.method_names if name in needed]


def _found(searches: Sequence[_Search], materials: Materials, budget: Budget) -> Tuning:
    return Tuning(
        seed=budget.seed,
        trials=budget.trials,
        data=materials.data_identity,
        encoder=materials.encoder_identity,
        searches=tuple(_method_search(search.method, outcomes(search.study)) for search in searches),
        versions={**versions(), "optuna": version("optuna")},
        machine=machine(),
    )


def _method_search(method: MethodSettings, trials: tuple[TrialOutcome, ...]) -> MethodSearch:
    best = best_of(trials)
    return MethodSearch(
        method=method.name,
        kind=method.kind,
        tuned=TUNED.format(method.name),
        settings=None if best is None else tables_at(method, best.point),
        trials=trials,
    )
