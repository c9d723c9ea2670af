"""The memory of a search: one Optuna study for each method in ``tuning.db``, and what it proposes next.

What is proposed depends on the seed and on the trials that are finished, and on nothing else: a search that was killed
proposes what it would have proposed undisturbed. A sampler that lives on would instead go on drawing from where its
random numbers are, which no database keeps.

Source:
    TPE: Bergstra et al. (2011), https://papers.nips.cc/paper/4443; the median rule as Optuna's ``MedianPruner`` has it,
    after Golovin et al. (2017), https://research.google/pubs/pub46180.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from distilora.config import MethodSettings
from distilora.data.faults import first_line
from distilora.errors import RunError
from distilora.runs import flat
from distilora.tuning.space import Point, distributions, own_point

DATABASE = "tuning.db"
RANDOM_TRIALS = 5
"""Trials before the sampler looks at their scores; the first of them has the method's own settings."""
COMPLETE_BEFORE_PRUNING = 5
"""Trials that must have come to their end before any is stopped early."""
EPOCHS_BEFORE_PRUNING = 2
"""Epochs that every trial gets."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@contextmanager
def opened_storage(folder: Path) -> Iterator[RDBStorage]:
    """Open the database of the searches in a folder, made where it is absent, and close it in the end.

    Raises:
        RunError: the file is there and is no such database.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = URL.create("sqlite", database=str((folder / DATABASE).resolve())).render_as_string(hide_password=False)
    try:
        storage = RDBStorage(url.replace("{", "{{").replace("}", "}}"))  # Optuna fills in what stands in braces
    except (SQLAlchemyError, RuntimeError) as error:  # the latter for a newer Optuna's
        raise RunError(
            f"{folder / DATABASE}: not a database of searches that this version can read: {first_line(error)}; "
            "give another --out"
        ) from None
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def searched_methods(storage: BaseStorage) -> list[str]:
    """Return the names of the methods that have a study, in the order in which these were begun."""
    return [study.study_name for study in optuna.get_all_study_summaries(storage, include_best_trial=False)]


def open_study(storage: BaseStorage, method: str, *, identity: Mapping[str, Any], folder: Path) -> Study:
    """Return the study of a method; a trial that was under way when its search was killed counts as failed.

    Args:
        storage: of the folder's searches.
        method: its name.
        identity: all that must be the same for the trials to be of one search.
        folder: for the error.

    Raises:
        RunError: the study is there and is of another identity.
    """
    pruner = optuna.pruners.MedianPruner(COMPLETE_BEFORE_PRUNING, EPOCHS_BEFORE_PRUNING)
    study = optuna.create_study(
        storage=storage, study_name=method, direction="maximize", pruner=pruner, load_if_exists=True
    )
    keep_same(study, "identity", identity, folder=folder)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def keep_same(study: Study, key: str, wanted: Mapping[str, Any], *, folder: Path) -> None:
    """Store what a study's trials have in common, or see that it is what is stored already.

    Raises:
        RunError: something differs; the error names the first that does.
    """
    now = json.loads(json.dumps(wanted))
    there = study.user_attrs.get(key)
    if there is None:
        study.set_user_attr(key, now)
        return
    before, after = flat(there), flat(now)
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            raise RunError(
                f"{folder / DATABASE}: {study.study_name} was searched with {name} = {before.get(name)!r}, now it is "
                f"{after.get(name)!r}; give another --out, or the changed method another name"
            )


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that count, oldest first: those that came to their end, were pruned or were void."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def next_trial(study: Study, method: MethodSettings, *, seed: int) -> Trial:
    """Return a trial at the point that comes after those that are finished.

    Args:
        study: of the method.
        method: its resolved settings, where the search begins.
        seed: of the search.
    """
    done = len(finished_trials(study))
    study.sampler = _sampler(seed, done) if done else _Fixed(own_point(method))
    return study.ask(distributions(method))


def _sampler(seed: int, done: int) -> TPESampler:
    draw = int(np.random.SeedSequence([seed, done]).generate_state(1)[0])
    return TPESampler(seed=draw, n_startup_trials=RANDOM_TRIALS, multivariate=True, constant_liar=False)


class _Fixed(BaseSampler):
    """Proposes one point."""

    def __init__(self, point: Point) -> None:
        self._point = point

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return nothing: no setting is drawn together with others."""
        return {}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return nothing, as there is nothing to draw."""
        return {}

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        """Return the point's value of one setting."""
        return self._point[param_name]
