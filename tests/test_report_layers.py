"""What a report says about the layers of teachers: means over seeds, intervals, and what is not claimed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import cache

import pytest

from distilora.analysis.records import (
    AnalysisSettings,
    LayerAnalysis,
    LayerKnowledge,
    LeftOut,
    ModelSimilarity,
    ProbeScores,
)
from distilora.evaluation.records import Interval
from distilora.models.layers import layer_numbers
from distilora.models.similarity import POOLINGS
from distilora.report import Evidence, compare_runs
from distilora.report.blocks import Bullets, FigureBlock, Section, Table
from distilora.report.comparing.layers import layer_means
from distilora.report.records import Comparison
from distilora.report.sections.layers import best_analysis, layers_section
from report_cases import run

LOST: Mapping[int, tuple[float, float, float]] = {
    1: (0.131, 0.095, 0.167),
    2: (0.024, 0.005, 0.043),
    3: (0.004, -0.010, 0.018),
    4: (0.007, -0.008, 0.021),
    5: (0.013, 0.0002, 0.026),
    6: (0.185, 0.154, 0.216),
}
"""Of each layer: macro-F1 lost, and the ends of its interval."""


def analysis(*, seed: int = 0, macro_f1: float = 0.766, shift: float = 0.0, depth: int = 6) -> LayerAnalysis:
    """Return the analysis of a teacher in which a layer's probe has 0.3 + 0.07 times its number + ``shift``."""
    places = range(depth + 1)
    similar = tuple(tuple(1 - abs(row - column) / (depth + 1) for column in places) for row in places)
    return LayerAnalysis(
        method="teacher",
        seed=seed,
        run_sha256="c" * 64,
        settings=AnalysisSettings(),
        validation_rows=2000,
        train_rows=4000,
        pooling="first",
        accuracy=0.9,
        macro_f1=macro_f1,
        odd=layer_numbers("odd", depth),
        even=layer_numbers("even", depth),
        layers=tuple(_layer(number, shift) for number in places),
        cka=dict.fromkeys(POOLINGS, similar),
        compared=(
            ModelSimilarity(
                method="odd", seed=seed, run_sha256="d" * 64, layers=(1, 3, 5), cka=dict.fromkeys(POOLINGS, similar[:4])
            ),
        ),
    )


def _layer(number: int, shift: float) -> LayerKnowledge:
    value = 0.3 + 0.07 * number + shift
    probe = ProbeScores(
        accuracy=0.9,
        accuracy_interval=Interval(low=0.88, high=0.92),
        macro_f1=value,
        macro_f1_interval=Interval(low=value - 0.03, high=value + 0.03),
    )
    lost, low, high = LOST.get(number, (0.05, 0.01, 0.09))
    left_out = LeftOut(
        accuracy=0.8,
        accuracy_lost=0.1,
        macro_f1=0.7,
        macro_f1_lost=lost + shift,
        macro_f1_lost_interval=Interval(low=low + shift, high=high + shift),
    )
    return LayerKnowledge(number=number, probes=dict.fromkeys(POOLINGS, probe), left_out=left_out if number else None)


@cache
def trained(methods: tuple[str, ...]) -> Comparison:
    return compare_runs([run(method) for method in methods])


def section_of(*analyses: LayerAnalysis, methods: tuple[str, ...] = ("teacher", "odd", "even")) -> Section:
    return layers_section(comparison_of(*analyses, methods=methods))


def comparison_of(*analyses: LayerAnalysis, methods: tuple[str, ...] = ("teacher", "odd", "even")) -> Comparison:
    return trained(methods).model_copy(update={"layers": analyses, "layer_means": layer_means(analyses)})


def rows(section: Section) -> list[tuple[str, ...]]:
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    return [tuple(map(str, row)) for row in table.rows]


def sentences(section: Section) -> str:
    return "\n".join(item for block in section.blocks if isinstance(block, Bullets) for item in block.items)


def test_without_an_analysis_there_is_no_section() -> None:
    assert section_of().blocks == ()


def test_one_seed_s_layers_stand_in_the_table_with_their_intervals() -> None:
    found = rows(section_of(analysis()))
    accuracy = "0.900 (0.880 to 0.920)"
    assert found[0] == ("0, the embeddings", "—", "0.300 (0.270 to 0.330)", "—", accuracy, "—")
    assert found[1] == ("1", "odd", "0.370 (0.340 to 0.400)", "+13.1 (+9.5 to +16.7)", accuracy, "+10.0")
    assert found[4] == ("4", "even", "0.580 (0.550 to 0.610)", "+0.7 (−0.8 to +2.1)", accuracy, "+10.0")
    assert len(found) == 7


def test_of_several_seeds_the_mean_and_the_range_are_shown() -> None:
    shifts = (0.0, 0.01, 0.04)
    found = rows(section_of(*(analysis(seed=seed, shift=shift) for seed, shift in enumerate(shifts))))
    probe, lost = 0.3 + 0.07 * 2 + statistics.fmean(shifts), 100 * (0.024 + statistics.fmean(shifts))
    assert found[2][:4] == ("2", "even", f"{probe:.3f} (0.440 to 0.480)", f"+{lost:.1f} (+2.4 to +6.4)")
    assert found[2][4:] == ("0.900 (0.900 to 0.900)", "+10.0 (+10.0 to +10.0)")


def test_every_mean_over_seeds_stands_in_the_comparison() -> None:
    seeds = [analysis(), analysis(seed=1, macro_f1=0.756, shift=0.01), analysis(seed=2, macro_f1=0.731, shift=0.04)]
    means = compare_runs([run("teacher")], Evidence(layers=tuple(seeds))).layer_means
    assert means is not None
    assert (means.accuracy, means.macro_f1) == pytest.approx((0.9, statistics.fmean([0.766, 0.756, 0.731])))
    for number, layer in enumerate(means.layers):
        each = [one.layers[number] for one in seeds]
        probes, left_out = [one.probes["first"] for one in each], [one.left_out for one in each if one.left_out]
        assert layer.number == number
        assert layer.probe_accuracy == pytest.approx(statistics.fmean(one.accuracy for one in probes))
        assert layer.probe_macro_f1 == pytest.approx(statistics.fmean(one.macro_f1 for one in probes))
        if number == 0:
            assert (layer.accuracy_lost, layer.macro_f1_lost) == (None, None)
        else:
            assert layer.accuracy_lost == pytest.approx(statistics.fmean(one.accuracy_lost for one in left_out))
            assert layer.macro_f1_lost == pytest.approx(statistics.fmean(one.macro_f1_lost for one in left_out))


def test_without_an_analysis_there_are_no_means() -> None:
    assert compare_runs([run("teacher")]).layer_means is None


def test_a_loss_is_claimed_only_where_it_is_shown_among_all_layers() -> None:
    told = sentences(section_of(analysis()))
    assert (
        "A loss is shown when layer 1 (taken by odd), or layer 6 (taken by even) is left out, one at a time; the most "
        "without layer 6, 18.5 points"
    ) in told
    level = "layer 2 or 4 (taken by even), or layer 3 or 5 (taken by odd)"  # layer 2 by itself has p = 0.013
    assert f"No loss was found when {level} is left out, once all layers are counted" in told


def test_over_seeds_a_loss_is_claimed_only_where_every_seed_shows_it() -> None:
    told = sentences(section_of(analysis(), analysis(seed=1, shift=-0.06)))
    assert "A loss is shown in every seed when layer 1 (taken by odd), or layer 6 (taken by even) is left out" in told
    assert "In no seed was a loss found when layer 2 or 4 (taken by even), or layer 3 or 5 (taken by odd)" in told
    doubtful = sentences(section_of(analysis(), analysis(seed=1, shift=-0.09)))
    assert "For layer 1 (taken by odd) the seeds do not agree" in doubtful


def test_the_best_probe_is_told_beside_the_whole_teacher() -> None:
    told = sentences(section_of(analysis(), analysis(seed=1, macro_f1=0.756, shift=0.02)))
    assert (
        "The probe of layer 6 scores highest: macro-F1 0.730, the mean of 2 seeds; the whole teacher has 0.761" in told
    )


def test_which_half_is_better_is_answered_by_the_test_of_the_students_alone() -> None:
    comparison = comparison_of(analysis())
    tested = comparison.difference("odd", "even")
    assert tested is not None
    verdict = "they differ" if tested.is_shown else "no difference was found"
    told = sentences(layers_section(comparison))
    assert "does not follow from single layers, because students are trained again after the cut; only their" in told
    assert f"{verdict}, odd less even is" in told
    untested = sentences(section_of(analysis(), methods=("teacher", "lora")))
    assert untested.endswith("only their scores on test rows tell.")


def test_figures_are_of_the_seed_that_is_best_on_validation() -> None:
    weaker, better = analysis(seed=3, macro_f1=0.75), analysis(seed=4, macro_f1=0.77)
    assert best_analysis([weaker, better]) is better
    figures = {block.name: block for block in section_of(weaker, better).blocks if isinstance(block, FigureBlock)}
    assert set(figures) == {"layer-scores", "layer-similarities"}
    assert "whole teacher 0.770" in figures["layer-scores"].svg
    assert "The teacher of seed 4, of all seeds the best" in figures["layer-scores"].caption


@pytest.mark.parametrize("depth", [2, 12, 24])
def test_teachers_of_any_depth_have_a_section(depth: int) -> None:
    section = section_of(analysis(depth=depth))
    assert len(rows(section)) == depth + 1
    assert rows(section)[-1][1] == "even"


def test_a_teacher_whose_layers_cannot_be_left_out_claims_no_loss() -> None:
    whole = analysis()
    bare = tuple(layer.model_copy(update={"left_out": None}) for layer in whole.layers)
    section = section_of(whole.model_copy(update={"layers": bare}))
    assert {(row[3], row[5]) for row in rows(section)} == {("—", "—")}
    assert "left out" not in sentences(section)
