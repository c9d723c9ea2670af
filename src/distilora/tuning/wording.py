"""What a search found, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distilora.tuning.records import MethodSearch, TrialOutcome, TrialState, Tuning


def describe_trial(method: str, trial: TrialOutcome, *, best: TrialOutcome | None) -> str:
    """Return one line on a trial that has just ended.

    Args:
        method: what it was a trial of.
        trial: the trial.
        best: the best so far, this one included; absent where none came to its end.
    """
    ends = {
        "complete": f"validation macro-F1 {_score(trial.validation_macro_f1)}",
        "pruned": f"stopped after epoch {len(trial.epochs)} at {_score(max(trial.epochs, default=None))}",
        "void": f"void, {trial.void}",
        "interrupted": "interrupted",
    }
    so_far = f" (best {_score(best.validation_macro_f1)})" if best is not None else ""
    return f"{method} trial {trial.number}: {ends[trial.state]}{so_far}"


def describe_tuning(tuning: Tuning, tuned: Path | None) -> str:
    """Return the best settings of each method, how they were found, and how far their scores can be believed.

    Args:
        tuning: what was found.
        tuned: the experiment with the best settings; absent where there is none.
    """
    lines = [line for search in tuning.searches for line in (*_method_lines(search), "")]
    return "\n".join([*lines, *caution(tuning.trials), *_next_step(tuned)])


def caution(trials: int) -> Sequence[str]:
    """Return how far the best score can be believed.

    Example:
        >>> print(caution(1)[0])
        A score is of the validation rows alone.
    """
    if trials == 1:
        return ["A score is of the validation rows alone."]
    return [
        f"Each score is the best of {trials} on the validation rows that picked it, so it is higher than it will be on "
        "other rows, the more so the fewer rows there are. No trial saw a test row."
    ]


def _method_lines(search: MethodSearch) -> list[str]:
    counts = f"trials: {search.count('complete')} to their end, {search.count('pruned')} pruned"
    rarer: dict[TrialState, str] = {"void": "void", "interrupted": "interrupted and made anew"}
    for state, word in rarer.items():
        if search.count(state):
            counts += f", {search.count(state)} {word}"
    best = search.best
    if best is None:
        return [f"{search.method}: no trial came to its end ({counts})"]
    own = search.own
    if own is best:
        compared = "its own settings, which no trial was better than"
    elif own is None:
        compared = f"trial {best.number}; its own settings did not come to their end"
    else:
        compared = f"trial {best.number}; its own settings have {_score(own.validation_macro_f1)}"
    lines = [f"{search.method}: validation macro-F1 {_score(best.validation_macro_f1)} ({compared}); {counts}"]
    for table, settings in (search.settings or {}).items():
        lines += [f"  {table}.{name} = {value}" for name, value in settings.items()]
    return lines


def _next_step(tuned: Path | None) -> list[str]:
    if tuned is None:
        return []
    return [f"What they are worth, the test rows tell, once: distilora compare {tuned}"]


def _score(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.3f}"
