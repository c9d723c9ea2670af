"""What each layer of the teacher knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from distilora.analysis.records import LayerAnalysis, LayerKnowledge, LeftOut
from distilora.evaluation.records import Interval
from distilora.models.similarity import Pooling
from distilora.report import plots
from distilora.report.blocks import Bullets, Paragraph, Section, Table, figure
from distilora.report.findings.beyond_scores import outlasts
from distilora.report.foreground import foreground, foreground_note
from distilora.report.layer_records import LayerMean, LayerMeans
from distilora.report.records import Comparison
from distilora.report.wording import (
    MISSING,
    count,
    either,
    listed,
    number,
    p_words,
    points,
    points_span,
    printable,
    span,
)

_POOLING_WORDS: dict[Pooling, str] = {"first": "of the first token", "mean": "averaged over the tokens"}
Analyses = Sequence[LayerAnalysis]


def layers_section(comparison: Comparison) -> Section:
    """Return what the layers of each seed's teacher know and what is lost without them; empty where nobody looked."""
    title = "What does each layer know?"
    analyses, means = comparison.layers, comparison.layer_means
    if not analyses or means is None:
        return Section("layers", title, ())
    shown = best_analysis(analyses)
    whose = f"{printable(shown.method)}, seed {shown.seed}"
    scores = figure(
        "layer-scores",
        plots.layer_scores(shown),
        alternative=f"For each layer of {whose}: macro-F1 of its probe, and macro-F1 lost without it, as in the table.",
        caption=f"{_whose_figure(analyses, shown)} Upright lines are 95 % intervals over the validation rows.",
    )
    names = {row.method for row in foreground(comparison).methods}
    similarities = figure(
        "layer-similarities",
        plots.layer_similarities(_only(shown, names)),
        alternative=f"Heat maps of how alike layers are, from 0 to 1: those of {whose} with each other, and those of "
        "each model made from it or beside it with them.",
        caption=f"How alike the layers are on the same rows (linear CKA, vectors {_POOLING_WORDS['mean']}): 1 is the "
        "same but for rotation and scale. Rows are layers of the model in the title, columns layers of "
        f"{whose}; 0 is the embeddings.{foreground_note(comparison, where='comparison.json has all')}",
    )
    told = Bullets(_sentences(comparison, means)), _table(analyses, means), Paragraph(_note(analyses))
    return Section("layers", title, (*told, *scores, *similarities))


def _only(analysis: LayerAnalysis, methods: Collection[str]) -> LayerAnalysis:
    """Return an analysis that compares none but these methods with the teacher."""
    compared = tuple(one for one in analysis.compared if one.method in methods)
    return analysis.model_copy(update={"compared": compared})


def best_analysis(analyses: Analyses) -> LayerAnalysis:
    """Return the analysis of the teacher with the best macro-F1 on validation rows, of equal ones the first."""
    return max(analyses, key=lambda analysis: analysis.macro_f1)


def _whose_figure(analyses: Analyses, shown: LayerAnalysis) -> str:
    if len(analyses) == 1:
        return f"The teacher of seed {shown.seed}."
    return f"The teacher of seed {shown.seed}, of all seeds the best on these validation rows."


def _sentences(comparison: Comparison, means: LayerMeans) -> tuple[str, ...]:
    analyses = comparison.layers
    return (_best_probe(means, seeds=len(analyses)), *_losses(analyses, means), _halves(comparison))


def _best_probe(means: LayerMeans, *, seeds: int) -> str:
    """Return from which layer alone the classes are read best, and how far the whole teacher comes."""
    best = max(means.layers, key=lambda layer: layer.probe_macro_f1)
    over = f", the mean of {seeds} seeds" if seeds > 1 else ""
    return (
        f"The probe of {f'layer {best.number}' if best.number else 'the embeddings'} scores highest: macro-F1 "
        f"{number(best.probe_macro_f1)}{over}; the whole teacher has {number(means.macro_f1)} on the same rows."
    )


def _losses(analyses: Analyses, means: LayerMeans) -> list[str]:
    """Return without which single layer something is lost, all layers counted, and without which no loss was found."""
    left_out, several = _left_out(analyses), len(analyses) > 1
    shown = {layer: [_is_shown(one, among=len(left_out)) for one in found] for layer, found in left_out.items()}
    hurt = [layer for layer, found in shown.items() if all(found)]
    level = [layer for layer, found in shown.items() if not any(found)]
    mixed = [layer for layer in left_out if layer not in (*hurt, *level)]
    return [
        *([f"A loss is shown {'in every seed ' if several else ''}when {_named(hurt, analyses[0])} is left out"
           f"{_most(means, hurt)}."] if hurt else []),
        *([f"{'In no seed was a loss' if several else 'No loss was'} found when {_named(level, analyses[0])} is left "
           "out, once all layers are counted. What is lost without several layers together was not measured."]
          if level else []),
        *([f"For {_named(mixed, analyses[0])} the seeds do not agree on whether there is a loss."] if mixed else []),
    ]  # fmt: skip


def _is_shown(found: LeftOut, *, among: int) -> bool:
    """Return whether a loss is shown with so many layers looked at."""
    return found.macro_f1_lost > 0 and outlasts(found.macro_f1_lost, found.macro_f1_lost_interval, among=among)


def _most(means: LayerMeans, layers: Sequence[int]) -> str:
    if len(layers) < 2:
        return ""
    losses = {one.number: one.macro_f1_lost or 0.0 for one in means.layers if one.number in layers}
    most = max(losses, key=lambda layer: losses[layer])
    return f", one at a time; the most without layer {most}, {points(losses[most], signed=False)} points of macro-F1"


def _named(layers: Sequence[int], analysis: LayerAnalysis) -> str:
    """Return layers by the half that takes them."""
    halves: dict[str, list[str]] = {}
    for layer in layers:
        halves.setdefault(_taken_by(layer, analysis), []).append(str(layer))
    return ", or ".join(f"layer {either(found)} (taken by {half})" for half, found in halves.items())


def _halves(comparison: Comparison) -> str:
    """Return what odd and even take, and where it is answered which of them makes the better student."""
    first, tested = comparison.layers[0], comparison.difference("odd", "even")
    told = "only their scores on test rows tell"
    if tested is not None and tested.p_holm is not None:
        verdict = "they differ" if tested.is_shown else "no difference was found"
        told += f": {verdict}, odd less even is {points(tested.value)} points of macro-F1 ({p_words(tested.p_holm)})"
    return (
        f"The student odd takes the layers {_numbers(first.odd)}, even {_numbers(first.even)}. Which is better does "
        f"not follow from single layers, because students are trained again after the cut; {told}."
    )


def _numbers(layers: Sequence[int]) -> str:
    return listed([str(layer) for layer in layers]) if layers else "none"


def _taken_by(layer: int, analysis: LayerAnalysis) -> str:
    return "odd" if layer in analysis.odd else "even" if layer in analysis.even else "neither"


def _table(analyses: Analyses, means: LayerMeans) -> Table:
    first = analyses[0]
    rows = tuple(_row(mean, [_of(analysis, mean.number) for analysis in analyses], first) for mean in means.layers)
    spread = "95 % interval" if len(analyses) == 1 else f"mean of {len(analyses)} seeds, lowest to highest seed"
    caption = f"Each layer of the teacher on {count(first.validation_rows)} validation rows ({spread})"
    columns = (
        "layer",
        "taken by",
        "macro-F1 of its probe",
        "points of macro-F1 lost when left out",
        "accuracy of its probe",
        "points of accuracy lost when left out",
    )
    return Table(caption, columns, rows)


def _of(analysis: LayerAnalysis, number: int) -> LayerKnowledge:
    return next(one for one in analysis.layers if one.number == number)


def _row(mean: LayerMean, seeds: Sequence[LayerKnowledge], first: LayerAnalysis) -> tuple[str, ...]:
    """Return a line of the table; ``seeds`` is the layer in each seed's teacher."""
    probes = [one.probes[first.pooling] for one in seeds]
    losses = [one.left_out for one in seeds if one.left_out is not None]
    one_seed = len(seeds) == 1
    probe_f1 = probes[0].macro_f1_interval if one_seed else _range([one.macro_f1 for one in probes])
    probe_accuracy = probes[0].accuracy_interval if one_seed else _range([one.accuracy for one in probes])
    lost_f1 = losses[0].macro_f1_lost_interval if one_seed and losses else _range([one.macro_f1_lost for one in losses])
    lost_accuracy = None if one_seed else _range([one.accuracy_lost for one in losses])
    return (
        str(mean.number) if mean.number else "0, the embeddings",
        _taken_by(mean.number, first) if mean.number else MISSING,
        f"{number(mean.probe_macro_f1)} ({span(probe_f1)})",
        _lost_cell(mean.macro_f1_lost, lost_f1),
        f"{number(mean.probe_accuracy)} ({span(probe_accuracy)})",
        _lost_cell(mean.accuracy_lost, lost_accuracy),
    )


def _range(values: Sequence[float]) -> Interval | None:
    """Return the lowest and the highest of the seeds' values, if there are any."""
    return Interval(low=min(values), high=max(values)) if values else None


def _lost_cell(lost: float | None, spread: Interval | None) -> str:
    if lost is None:
        return MISSING
    return points(lost) + (f" ({points_span(spread)})" if spread else "")


def _left_out(analyses: Analyses) -> dict[int, list[LeftOut]]:
    """Return what each seed's teacher loses without a layer, by number; layers that a seed lacks are left out."""
    every = [{one.number: one.left_out for one in analysis.layers if one.left_out} for analysis in analyses]
    common = [number for number in every[0] if all(number in known for known in every)]
    return {number: [known[number] for known in every] for number in common}


def _note(analyses: Analyses) -> str:
    first = analyses[0]
    corrected = (
        "Intervals are those of each layer by itself; a loss is told where 0 stays outside even once they are widened "
        "for the number of layers (Bonferroni)."
    )
    return (
        "A probe is a logistic regression that learns the classes from what one layer makes of the comments, "
        f"{_POOLING_WORDS[first.pooling]}, as the teacher's own classifier reads its last layer. It learnt from "
        f"{count(first.train_rows)} training rows. A layer is left out of the trained teacher, which is not trained "
        f"again; + is a loss. {corrected}"
    )
