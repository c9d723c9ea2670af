"""What adapted in the trainings of one method, from their histories."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence

from distilora.report.adapting_records import Adapted, OverSeeds, RankStep, SeedEvent, TermWeight
from distilora.report.comparing.answers import Runs
from distilora.runs import HistoryEntry, RunRecord

_SAME = 1e-6
"""Weights that differ by less, in the larger of them, have not changed."""


def adapted(runs: Runs) -> Adapted:
    """Return what adapted in training; empty where nothing did, as where weights and ranks were fixed.

    Args:
        runs: the valid ones of one method.
    """
    ranks = [list(_rank_steps(run)) for run in runs]
    has_ranks = any(len(steps) > 1 for steps in ranks) and all(ranks)
    return Adapted(
        weights=tuple(_weights(runs)),
        importance=_importance(runs),
        ranks=tuple(itertools.chain.from_iterable(ranks)) if has_ranks else (),
        first_rank=over_seeds([steps[0].rank for steps in ranks]) if has_ranks else None,
        last_rank=over_seeds([steps[-1].rank for steps in ranks]) if has_ranks else None,
        layer_macro_f1=_by_layer([_kept_layer_scores(run) for run in runs]),
    )


def events(runs: Runs) -> tuple[SeedEvent, ...]:
    """Return what the monitor saw in the runs of a method, by seed and then in order."""
    return tuple(
        SeedEvent(seed=run.result.seed, **event.model_dump())
        for run in sorted(runs, key=lambda run: run.result.seed)
        for event in run.result.events
    )


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Return mean and standard deviation of at least one value.

    Example:
        >>> over_seeds([1.0, 3.0]).mean, over_seeds([1.0]).sd
        (2.0, None)
    """
    return OverSeeds(mean=statistics.fmean(values), sd=statistics.stdev(values) if len(values) > 1 else None)


def adapting_terms(runs: Runs) -> tuple[str, ...]:
    """Return the loss terms that each run weighs, where the weight of one of them changed in one of the runs."""
    each = [_term_weights(run) for run in runs]
    changed = any(not _is_same(weights) for terms in each for weights in terms.values())
    return tuple(term for term in each[0] if all(term in terms for terms in each)) if changed else ()


def _weights(runs: Runs) -> Iterator[TermWeight]:
    each = [_term_weights(run) for run in runs]
    for term in adapting_terms(runs):
        first, last = ([terms[term][end] for terms in each] for end in (0, -1))
        yield TermWeight(term=term, first=over_seeds(first), last=over_seeds(last))


def _term_weights(run: RunRecord) -> dict[str, list[float]]:
    """Return the weights of each term in training, in order."""
    found: dict[str, list[float]] = {}
    for entry in _training(run):
        for term, weight in entry.weights.items():
            if math.isfinite(weight):
                found.setdefault(term, []).append(weight)
    return found


def _is_same(values: Sequence[float]) -> bool:
    return max(values) - min(values) <= _SAME * max(1e-12, *map(abs, values))


def _training(run: RunRecord) -> list[HistoryEntry]:
    return [entry for entry in run.history if entry.part == "train"]


def _importance(runs: Runs) -> tuple[OverSeeds, ...]:
    """Return how much each layer counted in the end; nothing where all count the same."""
    last = [next((entry.pair_weights for entry in reversed(_training(run)) if entry.pair_weights), ()) for run in runs]
    return () if all(_is_same(weights) for weights in last if weights) else _by_layer(last)


def _by_layer(each: Sequence[Sequence[float]]) -> tuple[OverSeeds, ...]:
    """Return each layer's values over seeds; nothing where a seed has none, or not as many, or one is no number."""
    known = bool(each) and len({len(values) for values in each}) == 1
    finite = all(math.isfinite(value) for values in each for value in values)
    return tuple(over_seeds(values) for values in zip(*each, strict=True)) if known and finite else ()


def _rank_steps(run: RunRecord) -> Iterator[RankStep]:
    """Yield each new rank with the step from which it held: an entry is of the stretch of steps that it ends."""
    rank: float | None = None
    step, epoch = 0, 0.0
    for entry in _training(run):
        if entry.rank is not None and entry.rank != rank:
            rank = entry.rank
            yield RankStep(seed=run.result.seed, step=step, epoch=epoch, rank=rank)
        step, epoch = entry.step, entry.epoch


def _kept_layer_scores(run: RunRecord) -> tuple[float, ...]:
    """Return the scores after each layer in the epoch whose model was kept, the last one where that is not known."""
    known = [entry for entry in run.history if entry.part == "validation" and entry.layer_macro_f1]
    kept = [entry for entry in known if round(entry.epoch) == run.result.best_epoch]
    return (kept or known)[-1].layer_macro_f1 if known else ()
