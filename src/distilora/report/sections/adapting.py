"""What adapted in training, of one method and of all, and what the monitor saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distilora.report import plots
from distilora.report.adapting_records import Adapted, OverSeeds, RankStep, SeedEvent
from distilora.report.blocks import Block, Cell, Paragraph, Section, Table, figure
from distilora.report.plots.adapting import layer_names
from distilora.report.records import Comparison, MethodRow
from distilora.report.sections.cells import method_pages
from distilora.report.wording import MISSING, number, printable
from distilora.runs import RunRecord
from distilora.training.records import Action, Kind

KIND_WORDS: Mapping[Kind, str] = {
    "plateau": "plateau",
    "divergence": "divergence",
    "spike": "spike of the loss",
    "not-finite": "a value that is no number",
    "collapse": "collapse to one class",
    "gradient": "long gradient",
}
ACTION_WORDS: Mapping[Action, str] = {
    "warn": "warned",
    "lower-rate": "halved the learning rate",
    "stop": "stopped the training",
}
_TOLD_STEPS = 6
"""Ranks of one seed that are written out."""


def adapted_section(comparison: Comparison) -> Section:
    """Return one line for each method that adapted something, with links to the pages that tell more; else empty."""
    rows = [row for row in comparison.methods if row.adapted.any]
    columns = {name: cell for name, cell in _COLUMNS.items() if any(cell(row) != MISSING for row in rows)}
    table = Table(
        "What each method changed by itself in training, from its first logged steps to its last; means over seeds",
        ("method", *columns),
        tuple((printable(row.method), *(cell(row) for cell in columns.values())) for row in rows),
        numeric=False,
        links=method_pages(comparison),
    )
    note = (
        "A trained method that is not named had fixed loss weights and a fixed rank. The page of each method shows how "
        "these went, seed by seed."
    )
    return Section("adapted", "What adapted in training?", (table, Paragraph(note)) if rows else ())


def adapting_section(comparison: Comparison, records: Sequence[RunRecord], row: MethodRow) -> Section:
    """Return what one method adapted, in tables and figures; empty where it adapted nothing.

    Args:
        comparison: of all methods, for colours.
        records: all runs, for their histories.
        row: of the method.
    """
    blocks = (
        *_weights(records, row),
        *_importance(comparison, row),
        *_layer_scores(records, row),
        *_ranks(comparison, records, row),
    )
    return Section("adapting", "What adapted in training", blocks)


def events_section(row: MethodRow) -> Section:
    """Return every event that the monitor saw in the runs of one method; empty where it saw none."""
    columns = ("seed", "step", "epoch", "what", "message", "what it did")
    caption = f"{printable(row.method)}: what the monitor saw in training, in order, void runs included"
    table = Table(caption, columns, tuple(map(_event, row.events)), numeric=False)
    return Section("events", "What the monitor saw", (table,) if row.events else ())


def _event(event: SeedEvent) -> tuple[Cell, ...]:
    return (
        str(event.seed),
        f"{event.step:,}",
        number(event.epoch, 2),
        KIND_WORDS[event.kind],
        printable(event.message),
        ACTION_WORDS[event.action],
    )


def _weights(records: Sequence[RunRecord], row: MethodRow) -> tuple[Block, ...]:
    found = row.adapted.weights
    if not found:
        return ()
    name = printable(row.method)
    table = Table(
        f"{name}: what each loss term was multiplied by{_spread(row)}",
        ("loss term", "in the first logged steps", "in the last"),
        tuple((printable(one.term), _shown(one.first), _shown(one.last)) for one in found),
        sortable=False,
    )
    drawn = figure(
        "weights",
        plots.loss_weights(records, row),
        alternative=f"Weights of the loss terms of {name} over the steps of training; first and last are in the table.",
        caption=f"{name}: what each loss term was multiplied by, the mean of the seeds; faint lines are single seeds.",
    )
    return table, *drawn


def _importance(comparison: Comparison, row: MethodRow) -> tuple[Block, ...]:
    found = row.adapted.importance
    if not found:
        return ()
    name = printable(row.method)
    table = Table(
        f"{name}: how much each layer counted in the end{_spread(row)}",
        ("layer", "weight"),
        tuple((layer, _shown(one)) for layer, one in zip(layer_names(row, len(found)), found, strict=True)),
    )
    drawn = figure(
        "importance",
        plots.layer_importance(comparison, row),
        alternative=f"Bars of the weight of each layer of {name}, as in the table.",
        caption=f"{name}: the learned importance of each layer in the last logged steps, the mean of the seeds; the "
        "upright lines are standard deviations over seeds. On the dashed line a layer counts as much as the average.",
    )
    note = (
        "Each layer of the model is paired with the teacher layer that it is to resemble. The weight says how much the "
        "pair counts in the loss terms that look inside; weights average 1. Where layer_sharpness is above 0, weights "
        "above 1 are pairs that are more alike; below 0, pairs that lag behind. It does not say how much the model's "
        "answers depend on the layer."
    )
    return table, Paragraph(note), *drawn


def _layer_scores(records: Sequence[RunRecord], row: MethodRow) -> tuple[Block, ...]:
    found = row.adapted.layer_macro_f1
    if not found:
        return ()
    name = printable(row.method)
    table = Table(
        f"{name}: macro-F1 on validation rows after each layer, in the epoch that was kept{_spread(row)}",
        ("after layer", "macro-F1"),
        tuple((layer, _shown(one)) for layer, one in zip(layer_names(row, len(found)), found, strict=True)),
    )
    drawn = figure(
        "layer-scores",
        plots.layer_curves(records, row),
        alternative=f"Macro-F1 of {name} on validation rows after each layer, over the epochs.",
        caption=f"{name}: macro-F1 on validation rows where the answer is read after that layer, the mean of the "
        "seeds; faint lines are single seeds.",
    )
    return table, *drawn


def _ranks(comparison: Comparison, records: Sequence[RunRecord], row: MethodRow) -> tuple[Block, ...]:
    by_seed: dict[int, list[RankStep]] = {}
    for one in row.adapted.ranks:
        by_seed.setdefault(one.seed, []).append(one)
    if not by_seed:
        return ()
    name = printable(row.method)
    table = Table(
        f"{name}: the rank of its adapters, on average over them",
        ("seed", "first rank", "last rank", "how it changed"),
        tuple(
            (str(seed), _rank(steps[0].rank), _rank(steps[-1].rank), _stairs(steps)) for seed, steps in by_seed.items()
        ),
        numeric=False,
    )
    drawn = figure(
        "ranks",
        plots.rank_steps(comparison, records, row),
        alternative=f"The rank of the adapters of {name} over the steps of training, a stair for each seed.",
        caption=f"{name}: the rank of its adapters over the steps of training, on average over them, a line a seed.",
    )
    return table, *drawn


def _stairs(steps: Sequence[RankStep]) -> str:
    if len(steps) > _TOLD_STEPS:
        return f"little by little, from step {steps[1].step:,} to step {steps[-1].step:,}"
    return "; ".join(f"{_rank(one.rank)} from step {one.step:,} (epoch {number(one.epoch, 1)})" for one in steps[1:])


def _rank(rank: float) -> str:
    return number(rank, 1).removesuffix(".0")


def _shown(one: OverSeeds) -> str:
    return number(one.mean) if one.sd is None else f"{number(one.mean)} ± {number(one.sd)}"


def _spread(row: MethodRow) -> str:
    return "; mean ± standard deviation over seeds" if len(row.seeds) > 1 else ""


def _short_weights(found: Adapted) -> str:
    told = (f"{printable(one.term)} {number(one.first.mean, 2)} → {number(one.last.mean, 2)}" for one in found.weights)
    return ", ".join(told) or MISSING


def _short_importance(row: MethodRow) -> str:
    found = row.adapted.importance
    if not found:
        return MISSING
    names, means = layer_names(row, len(found)), [one.mean for one in found]
    most, least = means.index(max(means)), means.index(min(means))
    return f"most {names[most]}: {number(means[most], 2)}, least {names[least]}: {number(means[least], 2)}"


def _short_scores(row: MethodRow) -> str:
    found = row.adapted.layer_macro_f1
    if not found:
        return MISSING
    return f"{number(found[0].mean)} after layer 1, {number(found[-1].mean)} after layer {len(found)}"


def _short_rank(found: Adapted) -> str:
    if found.first_rank is None or found.last_rank is None:
        return MISSING
    return f"{_rank(found.first_rank.mean)} → {_rank(found.last_rank.mean)}"


_COLUMNS: Mapping[str, Callable[[MethodRow], str]] = {
    "weights of loss terms": lambda row: _short_weights(row.adapted),
    "weights of layers": _short_importance,
    "rank": lambda row: _short_rank(row.adapted),
    "macro-F1, validation": _short_scores,
}
