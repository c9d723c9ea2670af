"""Plain sentences on what to beware of: void runs, odd scores, and what these runs cannot tell."""

from __future__ import annotations

from distilora.report.records import FEW_ROWS, LEVEL, MAJORITY, Comparison, MethodRow
from distilora.report.wording import counted, listed, number, points, printable


def suspicious_methods(comparison: Comparison) -> list[str]:
    """Return which methods say one class, or are below always saying the largest."""
    constant = [row.method for row in comparison.candidates if "one class" in row.flags]
    below = [row.method for row in comparison.candidates if "below majority" in row.flags]
    majority = comparison.row(MAJORITY)
    sentences = []
    if constant:
        sentences.append(f"{listed(constant)}: at least one seed gave every test row the same class.")
    if below and majority and majority.accuracy:
        sentences.append(
            f"{listed(below)}: the accuracy is below the {number(majority.accuracy.mean)} of "
            f"always saying the largest class."
        )
    return sentences


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
    corrected = (
        f"Each p is corrected (Holm) for the {counted(len(comparison.pairs), 'pair')} of "
        f"{listed(comparison.family)}; a difference counts as found below {LEVEL}."
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
