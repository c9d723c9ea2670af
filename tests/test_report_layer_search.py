"""What a report says of searched layers: the choice of each seed beside odd and even, and no more than was measured."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from distilora.report import Evidence, compare_runs
from distilora.report.blocks import Bullets, Section, Table, cell_text
from distilora.report.document import build_document
from distilora.report.records import Comparison
from distilora.report.sections.layer_search import layer_search_section
from distilora.runs import RunRecord
from evidence_cases import search_of
from report_cases import run

Layers = tuple[int, ...]


def searched(*layers: Layers, method: str = "searched") -> list[RunRecord]:
    return [run(method, seed=seed, layers=numbers) for seed, numbers in enumerate(layers)]


def compared(students: Sequence[RunRecord], *others: RunRecord) -> Comparison:
    searches = {(one.result.method, one.result.seed): search_of(one) for one in students}
    return compare_runs([*students, *others], Evidence(searches=searches))


def tables(section: Section) -> list[list[tuple[str, ...]]]:
    found = [block for block in section.blocks if isinstance(block, Table)]
    return [[tuple(map(cell_text, row)) for row in table.rows] for table in found]


def sentences(section: Section) -> str:
    return "\n".join(item for block in section.blocks if isinstance(block, Bullets) for item in block.items)


def test_without_a_search_there_is_no_section() -> None:
    comparison = compare_runs([run("teacher"), run("odd")])
    assert layer_search_section(comparison).blocks == ()
    assert "layer-search" not in {section.name for section in build_document(comparison, []).sections}


def test_each_seed_s_choice_stands_beside_odd_and_even() -> None:
    chosen, _ = tables(layer_search_section(compared(searched((1, 4, 6), (1, 2, 6)))))
    # exp(−0.11 · 1.42), exp(−0.62 · 1.40), exp(−0.23 · 1.42)
    assert chosen[0] == ("searched", "0", "1, 4, 6", "0.855", "0.420", "0.721", "34", "240", "83.0 s")
    # exp(−0.12 · 1.42), exp(−0.63 · 1.40), exp(−0.20 · 1.42)
    assert chosen[1] == ("searched", "1", "1, 2, 6", "0.843", "0.414", "0.753", "34", "240", "84.0 s")


def test_the_best_sets_stand_in_order_and_odd_behind_them() -> None:
    _, best = tables(layer_search_section(compared(searched((1, 4, 6)))))
    assert [row[0] for row in best] == ["1, 4, 6", "1, 2, 6", "1, 4, 5", "2, 4, 6 (even)", "1, 3, 6", "1, 3, 5 (odd)"]
    assert best[0][2:] == ("0.855", "0.110", "0.420", "0.690", "0.790")


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (((1, 4, 6), (1, 4, 6)), "layers 1, 4 and 6 were chosen in seeds 0 and 1."),
        (((1, 4, 6), (2,)), "layers 1, 4 and 6 were chosen in seed 0; layer 2 was chosen in seed 1."),
    ],
)
def test_seeds_that_chose_alike_are_told_together(layers: tuple[Layers, ...], told: str) -> None:
    assert f"searched: {told}" in sentences(layer_search_section(compared(searched(*layers))))


def test_whether_it_was_worth_it_is_answered_by_the_test_against_odd_alone() -> None:
    comparison = compared(searched((1, 4, 6)), run("odd"))
    tested = comparison.difference("searched", "odd")
    assert tested is not None
    verdict = "they differ" if tested.is_shown else "no difference was found"
    assert f"points of macro-F1: {verdict} (p " in sentences(layer_search_section(comparison))
    alone = sentences(layer_search_section(compared(searched((1, 4, 6)))))
    assert "only its scores on test rows could tell" in alone


def test_layers_are_a_method_s_own_only_where_all_seeds_agree() -> None:
    assert compared(searched((1, 4, 6), (1, 4, 6))).row("searched").layers == (1, 4, 6)
    differing = compared(searched((1, 4, 6), (1, 2, 6))).row("searched")
    assert differing.layers is None
    assert [one.search.numbers for one in differing.layer_searches] == [(1, 4, 6), (1, 2, 6)]


def test_a_teacher_of_one_layer_has_no_even() -> None:
    (student,) = searched((1,))
    search = search_of(student).model_copy(update={"even": None})
    comparison = compare_runs([student], Evidence(searches={("searched", 0): search}))
    chosen, best = tables(layer_search_section(comparison))
    assert chosen[0][5] == "—"
    assert not any("even" in row[0] for row in best)
