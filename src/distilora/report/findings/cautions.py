"""Plain sentences on what to beware of: void runs, odd scores, and what these runs cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.report.adapting_records import SeedEvent
from distilora.report.foreground import is_crowded
from distilora.report.records import FEW_ROWS, LEVEL, MAJORITY, Comparison, MethodRow
from distilora.report.wording import counted, first_of, listed, number, points, printable

_SERIOUS = ("divergence", "collapse", "not-finite")
_MOST_METHODS = 3
"""Methods of which it is told in words what was seen."""


def troubled_trainings(comparison: Comparison) -> list[str]:
    """Return in which trainings something serious was seen, and in which the monitor stepped in; else nothing.

    A plateau, a spike or a long gradient alone is nothing to beware of.
    """
    events = [(row.method, event) for row in comparison.methods for event in row.events]
    serious = [one for one in events if one[1].kind in _SERIOUS and one[1].action == "warn"]
    lowered = [one for one in events if one[1].action == "lower-rate"]
    stopped = [one for one in events if one[1].action == "stop"]
    told = (
        ("Trouble was seen in training", serious),
        ("The learning rate was lowered in training", lowered),
        ("Training was stopped", stopped),
    )
    return [f"{what}: {_trainings(found)}." for what, found in told if found]


def _trainings(found: Sequence[tuple[str, SeedEvent]]) -> str:
    """Return the first event of each method with its seeds, and how many methods there are beside the first few."""
    by_method: dict[str, list[SeedEvent]] = {}
    for method, event in found:
        by_method.setdefault(method, []).append(event)
    shown = [_training(method, events) for method, events in by_method.items()]
    others = len(shown) - _MOST_METHODS
    more = [f"{counted(others, 'other method')} too, see their pages"] if others > 0 else []
    return "; ".join([*shown[:_MOST_METHODS], *more])


def _training(method: str, events: Sequence[SeedEvent]) -> str:
    first, seeds = events[0], list(dict.fromkeys(str(event.seed) for event in events))
    several = "first: " if len(events) > 1 else ""
    seen = f"{several}epoch {number(first.epoch, 1)}, {printable(first.message)}"
    return f"{printable(method)}, {'seeds' if len(seeds) > 1 else 'seed'} {listed(seeds)} ({seen})"


def suspicious_methods(comparison: Comparison) -> list[str]:
    """Return which methods say one class, never find another, or are below always saying the largest."""
    constant = [row.method for row in comparison.candidates if "one class" in row.flags]
    below = [row.method for row in comparison.candidates if "below majority" in row.flags]
    majority = comparison.row(MAJORITY)
    sentences = []
    if constant:
        sentences.append(f"{listed(constant)}: at least one seed gave every test row the same class.")
    blind = [told for row in comparison.candidates if row.method not in constant for told in _blind_seeds(row)]
    if blind:
        sentences.append(f"Not one test row of a class was recognised: {'; '.join(first_of(blind))}.")
    if below and majority and majority.accuracy:
        sentences.append(
            f"{listed(below)}: the accuracy is below the {number(majority.accuracy.mean)} of "
            f"always saying the largest class."
        )
    return sentences


def _blind_seeds(row: MethodRow) -> list[str]:
    """Return each class that some seed never recognised, with the seeds: a mean over seeds hides that."""
    missed: dict[str, list[str]] = {}
    for one in row.by_seed:
        for name in one.missed_classes:
            missed.setdefault(name, []).append(str(one.seed))
    return [
        f"{printable(name)} by {printable(row.method)} with seed{'s' if len(seeds) > 1 else ''} {listed(seeds)}"
        for name, seeds in missed.items()
    ]


def void_methods(comparison: Comparison) -> list[str]:
    """Return which methods have void runs, and why."""
    sentences = []
    for row in comparison.methods:
        if row.void and row.is_void:
            sentences.append(f"{printable(row.method)} is void and has no score: {_reasons(row)}.")
        elif row.void:
            sentences.append(
                f"{printable(row.method)}: {len(row.void)} of {len(row.void) + len(row.seeds)} seeds are void "
                f"({_reasons(row)}); its scores are those of the others."
            )
    return sentences


def _reasons(row: MethodRow) -> str:
    return "; ".join(f"seed {void.seed}, {printable(void.reason).rstrip('.')}" for void in row.void)


def limits_of_evidence(comparison: Comparison) -> list[str]:
    """Return what these runs cannot tell, whatever they show."""
    candidates = comparison.candidates
    if not candidates:
        return []
    rows = counted(sum(comparison.class_support.values()), "test row")
    family = f"all {len(comparison.family)} methods" if is_crowded(comparison) else listed(comparison.family)
    corrected = (
        f"Each p is corrected (Holm) for the {counted(len(comparison.pairs), 'pair')} of "
        f"{family}; a difference counts as found below {LEVEL}."
    )
    open_ended = (
        f"Where no difference was found, {rows} were not enough to tell two methods apart; that does not show that "
        "they are equal."
    )
    compared = [d for row in candidates for d in (row.to_teacher, row.to_best, row.to_tfidf) if d is not None]
    is_open = any(not difference.is_shown for difference in compared)
    tests = [*([corrected] if comparison.pairs else []), *([open_ended] if is_open else [])]
    return [*_seed_spread(comparison), *([" ".join(tests)] if tests else [])]


def scarce_classes(comparison: Comparison) -> list[str]:
    """Return which classes have too few test rows for their intervals."""
    scarce = [f"{printable(name)} ({rows})" for name, rows in comparison.scarce_classes.items()]
    if not scarce:
        return []
    return [
        f"Fewer than {FEW_ROWS} test rows: {', '.join(scarce)}. With so few, the intervals of these classes and of "
        "macro-F1 are too narrow."
    ]


def few_seeds(comparison: Comparison) -> list[str]:
    """Return that one seed alone was trained, where it was."""
    if not comparison.candidates or _spreads(comparison):
        return []
    return ["One seed a method: how much another seed would change is not known; intervals speak of test rows alone."]


def _seed_spread(comparison: Comparison) -> list[str]:
    amounts, spreads = {len(row.seeds) for row in comparison.candidates}, _spreads(comparison)
    if not spreads:
        return []
    seeds = counted(min(amounts), "seed") if len(amounts) == 1 else f"{min(amounts)} to {max(amounts)} seeds"
    return [
        f"Over {seeds} a method, macro-F1 varies with a standard deviation of {points(min(spreads), signed=False)} to "
        f"{points(max(spreads), signed=False)} points; intervals are over test rows with the seeds averaged."
    ]


def _spreads(comparison: Comparison) -> list[float]:
    return [row.macro_f1.sd for row in comparison.candidates if row.macro_f1 and row.macro_f1.sd is not None]
