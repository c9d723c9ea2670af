"""What the report tells of trainings that adapted themselves, and of what their monitor saw."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapting_cases import STEPS, adapting_runs, balanced, event, grown, joint, matched, stretch, trained, with_events
from distilora.report import compare_runs, findings, write_report
from distilora.report.blocks import Block, FigureBlock, Table, cell_text
from distilora.report.plots.histories import mean_curve, term_colours
from distilora.report.records import Comparison
from distilora.report.sections.adapting import adapted_section, adapting_section, events_section
from distilora.runs import RunRecord
from report_cases import run


def adapted_of(*runs: RunRecord) -> Any:
    (row,) = compare_runs(list(runs)).methods
    return row.adapted


def blocks_of(runs: list[RunRecord], method: str) -> tuple[Block, ...]:
    comparison = compare_runs(runs)
    row = comparison.row(method)
    assert row is not None
    return adapting_section(comparison, runs, row).blocks


def cells(blocks: tuple[Block, ...]) -> list[list[str]]:
    return [[cell_text(cell) for cell in row] for block in blocks if isinstance(block, Table) for row in block.rows]


def test_weights_of_loss_terms_are_told_as_they_began_and_ended_over_seeds() -> None:
    hard, soft = adapted_of(balanced(0), balanced(1)).weights
    assert (hard.term, soft.term) == ("hard", "soft")
    assert (hard.first.mean, hard.first.sd) == (0.2, 0.0)
    assert hard.last.mean == pytest.approx(0.35)
    assert hard.last.sd == pytest.approx(statistics.stdev([0.3, 0.4]))
    rows = cells(blocks_of([balanced(0), balanced(1)], "odd-dwa"))
    assert rows == [["hard", "0.200 ± 0.000", "0.350 ± 0.071"], ["soft", "0.800 ± 0.000", "0.650 ± 0.071"]]


def test_fixed_weights_equal_layers_and_a_fixed_rank_are_nothing_to_show() -> None:
    history = [stretch(step, weights={"hard": 0.2}, pair_weights=(1.0, 1.0), rank=8.0) for step in STEPS]
    runs = [trained("odd", history), trained("teacher", [])]
    comparison = compare_runs(runs)
    assert not any(row.adapted.any for row in comparison.methods)
    assert adapted_section(comparison).blocks == ()
    assert blocks_of(runs, "odd") == ()


def test_the_importance_of_layers_is_that_of_the_last_steps_and_averages_1_over_layers() -> None:
    found = adapted_of(matched(0), matched(1)).importance
    assert [one.mean for one in found] == pytest.approx([0.75, 1.05, 1.2])
    assert found[0].sd == pytest.approx(statistics.stdev([0.7, 0.8]))
    assert statistics.fmean(one.mean for one in found) == pytest.approx(1)
    rows = cells(blocks_of([matched(0)], "odd-tinybert"))
    assert rows == [["1 (was 1)", "0.700"], ["2 (was 3)", "1.100"], ["3 (was 5)", "1.200"]]


def test_the_rank_is_told_with_each_change_and_seed() -> None:
    found = adapted_of(grown(0), grown(1))
    assert [(one.seed, one.step, one.rank) for one in found.ranks] == [
        (0, 0, 8), (0, 40, 16), (0, 80, 32), (1, 0, 8), (1, 40, 16)
    ]  # fmt: skip
    assert (found.first_rank.mean, found.last_rank.mean) == (8, 24)
    rows = cells(blocks_of([grown(0), grown(1)], "lora-grow"))
    assert rows[0] == ["0", "8", "32", "16 from step 40 (epoch 1.0); 32 from step 80 (epoch 2.0)"]


def test_ranks_that_change_all_the_time_are_not_written_out() -> None:
    history = [stretch(20 * step, rank=12 - step / 10) for step in range(1, 30)]
    (row,) = cells(blocks_of([trained("lora", history)], "lora"))
    assert row == ["0", "11.9", "9.1", "little by little, from step 20 to step 560"]


def test_scores_after_each_layer_are_those_of_the_epoch_that_was_kept() -> None:
    early = replace(joint(1), result=joint(1).result.model_copy(update={"best_epoch": 2}))
    found = adapted_of(joint(0), early).layer_macro_f1
    assert [one.mean for one in found] == pytest.approx([0.53, 0.63, 0.73])  # 0.3 + 0.1 n + 0.15, and 0.01 − 0.05 more
    assert len([block for block in blocks_of([joint(0)], "joint") if isinstance(block, FigureBlock)]) == 1


def test_one_line_of_the_report_tells_of_each_method_that_adapted() -> None:
    (table, _) = adapted_section(compare_runs(adapting_runs())).blocks
    assert isinstance(table, Table)
    found = {row[0]: dict(zip(table.columns, map(cell_text, row), strict=True)) for row in table.rows}
    assert found.keys() == {"odd-dwa", "odd-tinybert", "lora-grow", "joint"}
    assert found["odd-dwa"]["weights of loss terms"] == "hard 0.20 → 0.35, soft 0.80 → 0.65"
    assert found["odd-tinybert"]["weights of layers"] == "most 3 (was 5): 1.20, least 1 (was 1): 0.75"
    assert found["lora-grow"]["rank"] == "8 → 24"
    assert found["joint"]["macro-F1, validation"] == "0.555 after layer 1, 0.755 after layer 3"
    assert table.links["joint"] == "joint/report.html"


def test_of_seeds_that_do_not_tell_the_same_nothing_is_averaged() -> None:
    short = trained("odd-tinybert", [stretch(20, pair_weights=(0.5, 1.5))], seed=1)
    assert adapted_of(matched(0), short).importance == ()
    silent = trained("lora-grow", [stretch(20)], seed=1)
    assert adapted_of(grown(0), silent).ranks == ()
    assert adapted_of(balanced(0), trained("odd-dwa", [stretch(20)], seed=1)).weights == ()


def test_a_weight_that_is_no_number_is_left_out() -> None:
    history = [stretch(20, weights={"hard": 0.2}), stretch(40, weights={"hard": math.nan})]
    assert adapted_of(trained("odd", history)).weights == ()


def test_a_mean_line_ends_where_the_first_seed_stopped() -> None:
    assert mean_curve([[(1, 0.5), (2, 0.7)], [(1, 0.3)]]) == [(1, 0.4)]
    assert mean_curve([]) == []


def test_a_loss_term_has_one_colour_and_none_shares_it() -> None:
    known = term_colours(["hard", "another", "soft", "a third"])
    assert len(set(known.values())) == len(known)
    assert known["hard"] == term_colours([])["hard"]


def test_every_event_stands_on_the_page_of_its_method_with_what_the_monitor_did() -> None:
    seen = (event("spike"), event("plateau", step=80, action="stop", message="no gain <b>on</b> validation"))
    runs = [with_events(run("odd"), *seen), run("teacher")]
    row = compare_runs(runs).row("odd")
    assert row is not None
    (table,) = events_section(row).blocks
    assert isinstance(table, Table)
    assert table.rows == (
        ("0", "60", "1.50", "spike of the loss", "it was seen", "warned"),
        ("0", "80", "2.00", "plateau", "no gain <b>on</b> validation", "stopped the training"),
    )


def test_what_the_monitor_saw_in_a_void_run_is_told_too() -> None:
    runs = [
        with_events(run("odd", void="loss is not finite"), event("not-finite", message="loss is nan")),
        run("teacher"),
    ]
    row = compare_runs(runs).row("odd")
    assert row is not None
    assert [(one.seed, one.kind) for one in row.events] == [(0, "not-finite")]


@pytest.mark.parametrize(
    ("kind", "action", "sentence"),
    [
        ("divergence", "warn", "Trouble was seen in training: odd, seed 0 (epoch 1.5, it was seen)."),
        ("collapse", "warn", "Trouble was seen in training: odd, seed 0 (epoch 1.5, it was seen)."),
        ("plateau", "stop", "Training was stopped: odd, seed 0 (epoch 1.5, it was seen)."),
        ("spike", "lower-rate", "The learning rate was lowered in training: odd, seed 0 (epoch 1.5, it was seen)."),
        ("plateau", "warn", None),
        ("spike", "warn", None),
        ("gradient", "warn", None),
    ],
)
def test_only_what_is_serious_or_changed_a_training_is_a_caution(kind: str, action: str, sentence: str | None) -> None:
    told = findings(compare_runs([with_events(run("odd"), event(kind, action=action)), run("teacher")]))
    matching = [one for one in told if "it was seen" in one]
    assert matching == ([sentence] if sentence else [])


def test_of_many_troubled_methods_three_are_told_in_words_with_their_seeds() -> None:
    runs = [
        with_events(run(f"odd-{index}", seed=seed), event("divergence"), event("collapse"))
        for index in range(5)
        for seed in (0, 1)
    ]
    (told,) = [one for one in findings(compare_runs([*runs, run("teacher")])) if one.startswith("Trouble")]
    assert told.count("seeds 0 and 1 (first: epoch 1.5, it was seen)") == 3
    assert told.endswith("2 other methods too, see their pages.")


def test_all_of_it_stands_in_the_files_and_in_markdown_once(tmp_path: Path) -> None:
    runs = [joint(), with_events(grown(), event("collapse"))]
    comparison = compare_runs(runs)
    write_report(comparison, runs, tmp_path)
    figures = {path.stem for path in (tmp_path / "figures").glob("*.svg")}
    assert {"lora-grow.ranks", "joint.layer-scores"} <= figures
    assert Comparison.model_validate_json((tmp_path / "comparison.json").read_bytes()) == comparison
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    for heading in ("## What adapted in training?", "## What adapted in training\n", "## What the monitor saw"):
        assert markdown.count(heading) == 1
    assert "figures/lora-grow.ranks.svg" in markdown
    page = (tmp_path / "lora-grow" / "report.html").read_text(encoding="utf-8")
    assert 'id="adapting"' in page
    assert 'id="events"' in page
    assert 'id="events"' not in (tmp_path / "joint" / "report.html").read_text(encoding="utf-8")
