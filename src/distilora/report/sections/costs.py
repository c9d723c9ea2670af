"""What each method costs to store and to run."""

from __future__ import annotations

from collections.abc import Callable

from distilora.evaluation.costs import ExperimentCosts, LatencyAt, MethodCosts
from distilora.report import plots
from distilora.report.blocks import Block, Cell, Paragraph, Section, Table, figure
from distilora.report.plots.frontier import cost_axis, frontier
from distilora.report.records import MAJORITY, Comparison, MethodRow
from distilora.report.wording import MISSING, count, counted, duration, listed, number, printable

_SPARE_LOAD = 0.5
"""More load than the threads leave room for makes times too long."""
_MODELS = {"bundle": "bundle", "run": "trained run"}


def costs_section(comparison: Comparison) -> Section:
    """Return what each method costs to run and to train, the machine, and its score against its cost."""
    return Section(
        "costs", "What does each cost?", (*_running(comparison), *_frontier(comparison), *_training(comparison))
    )


def _running(comparison: Comparison) -> tuple[Block, ...]:
    costs = comparison.costs
    if costs is None:
        return (
            Paragraph("Time and memory of the models were not measured here, so only what training tells is shown."),
        )
    tokens = sorted({at.tokens for one in costs.methods for at in one.latency})
    columns: dict[str, Callable[[MethodCosts], Cell]] = {
        "MB to ship": lambda one: number(one.size_mb, 1),
        **{f"ms, {length} tokens": _timed(length) for length in tokens},
        "texts a second": _throughput,
        "memory, MiB": lambda one: count(one.memory_peak_mib),
        "load, s": lambda one: number(one.load_seconds, 2),
        "measured": lambda one: f"{one.precision} {_MODELS[one.model]}",
    }
    rows = tuple(
        (
            printable(row.method),
            *((cell(one) if (one := costs.of(row.method)) else MISSING) for cell in columns.values()),
        )
        for row in comparison.candidates
    )
    table = Table("To ship and to run: one text alone, median / 95 of 100", ("method", *columns), rows)
    return table, Paragraph(_running_note(costs, _has_ensemble(comparison)))


def _timed(tokens: int) -> Callable[[MethodCosts], Cell]:
    return lambda one: _latency(one.latency_at(tokens))


def _latency(at: LatencyAt | None) -> str:
    return MISSING if at is None else f"{number(at.p50_ms, 1)} / {number(at.p95_ms, 1)}"


def _throughput(one: MethodCosts) -> str:
    return f"{count(one.texts_per_s)} ({count(one.texts_per_s_low)} to {count(one.texts_per_s_high)})"


def _has_ensemble(comparison: Comparison) -> bool:
    return any(row.kind == "ensemble" for row in comparison.methods)


def _running_note(costs: ExperimentCosts, has_ensemble: bool) -> str:
    kinds = {one.model for one in costs.methods}
    mixed = (
        " Bundles run in ONNX Runtime and trained runs in PyTorch, so the times of the two kinds say more of that than "
        "of the methods."
        if len(kinds) > 1
        else ""
    )
    busy = costs.busy_processors
    others = "" if busy is None else f", of which others kept {number(busy, 1)} busy just before"
    warning = (
        " The machine was busy, so times may be too long and ratios wrong: measure again when it is idle."
        if busy is not None and busy + costs.threads > costs.cores + _SPARE_LOAD
        else ""
    )
    versions = ", ".join(f"{printable(name)} {printable(version)}" for name, version in costs.versions.items())
    return (
        f"Measured on {printable(costs.processor)}, {counted(costs.cores, 'core')}{others}; "
        f"{counted(costs.threads, 'thread')} a model, each in a process of its own, all in turn in "
        f"{counted(costs.rounds, 'round')} of {counted(costs.texts, 'test text')}; tokenising included; {versions}."
        f"{warning}{mixed} Texts a second: the median round (the slowest to the fastest). Memory: the most that the "
        "process held. Load: to import its libraries and open it. 1 MB is 10^6 bytes, of all files to ship; for "
        f"LoRA with the encoder{', for an ensemble with all its members' if has_ensemble else ''}."
    )


def _training(comparison: Comparison) -> tuple[Block, ...]:
    columns: dict[str, Callable[[MethodRow], Cell]] = {
        "parameters": lambda row: count(row.parameters),
        "of these trained": lambda row: count(row.trainable_parameters),
        "weights, MB": lambda row: number(row.size_mb, 1),
        "training": lambda row: duration(row.training_seconds),
        "memory in training, MiB": lambda row: count(row.training_memory_mib),
    }
    rows = tuple(
        (printable(row.method), *(cell(row) for cell in columns.values()))
        for row in comparison.methods
        if row.method != MAJORITY
    )
    if not rows:
        return ()
    averaged = " An ensemble costs what all its members cost together." if _has_ensemble(comparison) else ""
    note = (
        "Weights are those of the trained model, before any export. Training is the loop alone, the mean over seeds; "
        f"its memory is the most of any seed.{averaged} The machine of each run stands below. {MISSING}: not measured."
    )
    return Table("To train", ("method", *columns), rows), Paragraph(note)


def _frontier(comparison: Comparison) -> tuple[Block, ...]:
    axis = cost_axis(comparison)
    drawn = [row for row in comparison.candidates if axis.of(row) is not None]
    points = "; ".join(
        f"{printable(row.method)} {number(row.macro_f1.mean if row.macro_f1 else None)} at "
        f"{number(axis.of(row), 1)} {axis.unit}"
        for row in drawn
    )
    line = (
        f" The stepped line is the frontier: it joins the methods that no other beats by being both {axis.cheaper} and "
        "better. It follows the means, and intervals may overlap."
        if len(drawn) > 1
        else ""
    )
    on_it = f" On the frontier: {listed([row.method for row in frontier(drawn, axis)])}." if line else ""
    baselines = (
        " Baselines are dashed lines, or named below the scale."
        if any(row.is_baseline for row in comparison.scored)
        else ""
    )
    is_drawn = comparison.recommended in [row.method for row in drawn]
    ring = " The ring marks the recommended method." if is_drawn else ""
    absent = [row.method for row in comparison.candidates if row not in drawn]
    missing = f" Not measured, and so not drawn: {listed(absent)}." if absent else ""
    moved = " Points that would cover each other are moved sideways." if len(drawn) > 1 else ""
    return figure(
        "frontier",
        plots.score_against_cost(comparison),
        alternative=f"Macro-F1 on test rows against the {axis.words}: {points}.{on_it}",
        caption=f"Macro-F1 on test rows, with its 95 % interval over rows, against the {axis.words}.{line}{ring}"
        f"{baselines}{missing}{moved}",
    )
