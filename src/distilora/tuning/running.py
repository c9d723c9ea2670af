"""The trials of one method, one after another, until there are enough of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from distilora.config import MethodSettings
from distilora.errors import VoidRunError
from distilora.tuning.records import TrialOutcome
from distilora.tuning.space import settings_at
from distilora.tuning.studies import finished_trials, next_trial

Report = Callable[[int, float], None]
"""Takes an epoch, from 1, and the validation macro-F1 after it; raises where the trial is to be pruned."""
ScoreTrial = Callable[[MethodSettings, Report], float]
"""From settings to the validation macro-F1 of the best epoch; reports each epoch's."""
_VOID = "void"
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}


@dataclass(frozen=True)
class Budget:
    """What every method of a search gets, the same for each."""

    trials: int
    """Those that are finished, pruned and void ones among them."""
    seed: int
    """Of what is proposed, and of every training."""


def run_trials(
    study: Study,
    method: MethodSettings,
    budget: Budget,
    *,
    score: ScoreTrial,
    done: Callable[[TrialOutcome], None] = lambda _: None,
) -> None:
    """Make trials until as many as are wanted are finished, those of earlier calls counted.

    Args:
        study: of the method.
        method: its resolved settings.
        budget: how many trials there are to be at the end, and their seed.
        score: trains with given settings.
        done: is given each trial as it ends.
    """
    while len(finished_trials(study)) < budget.trials:
        trial = next_trial(study, method, seed=budget.seed)
        _run(study, trial, settings_at(method, trial.params), score)
        done(outcomes(study)[-1])


def outcomes(study: Study) -> tuple[TrialOutcome, ...]:
    """Return what became of every trial, in the order of their beginnings."""
    return tuple(_outcome(trial) for trial in study.get_trials(deepcopy=False))


def _run(study: Study, trial: Trial, method: MethodSettings, score: ScoreTrial) -> None:
    try:
        found = score(method, _reporting(trial, epochs=method.training.epochs))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except VoidRunError as void:
        # Optuna has no such end; as pruned it tells the sampler to keep away, without a score that it never had.
        trial.set_user_attr(_VOID, str(void))
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, found)


def _reporting(trial: Trial, *, epochs: int) -> Report:
    def report(epoch: int, macro_f1: float) -> None:
        trial.report(macro_f1, epoch)
        if epoch < epochs and trial.should_prune():  # after its last epoch nothing is saved by it
            raise optuna.TrialPruned

    return report


def _outcome(trial: FrozenTrial) -> TrialOutcome:
    void = trial.user_attrs.get(_VOID)
    state = _STATES.get(trial.state, "interrupted")
    return TrialOutcome.model_validate(
        {
            "number": trial.number + 1,
            "state": state if void is None else "void",
            "point": trial.params,
            "validation_macro_f1": trial.value if state == "complete" else None,
            "epochs": [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)],
            "seconds": trial.duration.total_seconds() if trial.duration is not None else None,
            "void": void,
        }
    )
