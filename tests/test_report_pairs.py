"""Whether a report claims what its numbers hold, and nothing else."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, precision_recall_fscore_support
from statsmodels.stats.multitest import multipletests

from distilora.bundles.predictions import calibrated
from distilora.evaluation.significance import compare_methods
from distilora.report import compare_runs, findings, plots
from distilora.report.blocks import Fold, Paragraph, Table, cell_text
from distilora.report.sections.calibration import calibration_section
from distilora.report.sections.differences import differences_section
from report_cases import NAMES, run, usual_runs


def pair_table(comparison):
    """Return the cells of the table of pairs and the note below it."""
    blocks = differences_section(comparison).blocks
    table = next(block for block in blocks if isinstance(block, Table))
    return table.rows, next(block.text for block in blocks if isinstance(block, Paragraph))


def close_runs():
    """Return three methods on 50 rows, each wrong on 9 or 10 of them, most of them the same."""
    wrong = {"teacher": range(9), "odd": range(1, 11), "lora": range(2, 12)}
    return [run(method, wrong=which, rows=50) for method, which in wrong.items()]


def test_fifty_rows_and_methods_two_points_apart_give_wide_intervals_and_no_winner():
    comparison = compare_runs(close_runs())
    accuracies = [row.accuracy.mean for row in comparison.candidates]
    assert max(accuracies) - min(accuracies) <= 0.02 + 1e-9
    for row in comparison.candidates:
        assert row.macro_f1.interval.high - row.macro_f1.interval.low > 0.15
    assert not any(pair.p_holm < 0.05 for pair in comparison.pairs)
    assert {row.method for row in comparison.contenders} == {"odd", "lora"}
    told = findings(comparison)
    assert any(
        line.startswith("No method is shown to be the best: teacher has the highest macro-F1")
        and "but no difference was found to" in line
        for line in told
    )
    assert any(re.match(r"No difference was found between (odd and lora|lora and odd) \(\d", line) for line in told)
    assert not any("more than chance" in sentence or "is worse than" in sentence for sentence in told)
    rows, _ = pair_table(comparison)
    cells = [cell for row in rows for cell in row[1:] if cell]
    assert len(cells) == 3
    assert all(cell.startswith("no difference was found: ") for cell in cells)


def test_equal_predictions_give_a_p_of_one_and_the_words_say_so():
    comparison = compare_runs([run("teacher", wrong=range(9)), run("odd", wrong=range(9))])
    (pair,) = comparison.pairs
    assert (pair.value, pair.low, pair.high, pair.p, pair.p_holm) == (0, 0, 0, 1, 1)
    assert pair.mcnemar[0].p == 1
    rows, _ = pair_table(comparison)
    assert rows[0][1] == "no difference was found: 0.0 (0.0 to 0.0), p = 1.000"
    assert "no difference was found for odd (0.0 points, p = 1.000)" in "\n".join(findings(comparison))


def test_a_method_far_ahead_is_told_as_the_best():
    comparison = compare_runs(
        [run("teacher", wrong=range(10)), run("odd", wrong=range(80)), run("lora", wrong=range(90))]
    )
    assert comparison.contenders == ()
    told = [line for line in findings(comparison) if line.startswith("teacher has the highest macro-F1")]
    assert len(told) == 1
    assert "more than chance in the rows" in told[0]
    rows, _ = pair_table(comparison)
    assert rows[0][1].startswith("they differ: ")


def test_all_pairs_but_those_with_the_majority_are_tested_as_one_family():
    comparison = compare_runs(usual_runs())
    assert set(comparison.family) == {"teacher", "odd", "lora", "tfidf"}
    assert [(p.first, p.second) for p in comparison.pairs] == list(itertools.combinations(comparison.family, 2))
    _, note = pair_table(comparison)
    assert "the 6 pairs of " in note
    assert "majority class is left out" in note
    assert any("for the 6 pairs of" in sentence for sentence in findings(comparison))


def test_mcnemar_s_test_of_each_pair_and_seed_stands_in_the_report():
    runs = [
        run(method, wrong=range(first, first + 30), seed=seed)
        for method, first in (("teacher", 0), ("odd", 10), ("lora", 3))
        for seed in (0, 1)
    ]
    comparison = compare_runs(runs)
    (fold,) = [block for block in differences_section(comparison).blocks if isinstance(block, Fold)]
    table, _ = fold.blocks
    assert isinstance(table, Table)
    found = [[cell_text(cell) for cell in row] for row in table.rows]
    assert len(found) == 3 * 2
    expected = [
        [f"{pair.first}, {pair.second}", *map(str, (one.seed, one.only_first, one.only_second))]
        for pair in comparison.pairs
        for one in pair.mcnemar
    ]
    assert [row[:4] for row in found] == expected
    assert {row[4] for row in found} == {"exact"}
    p = multipletests([pair.mcnemar[0].p for pair in comparison.pairs], method="holm")[1]
    assert [float(row[6]) for row in found[::2]] == pytest.approx(p.tolist(), abs=5e-4)


def test_without_a_seed_in_common_there_is_no_table_of_mcnemar_s_tests():
    comparison = compare_runs([run("teacher", seed=0), run("odd", seed=1)])
    assert not any(isinstance(block, Fold) for block in differences_section(comparison).blocks)


def test_of_many_pairs_only_the_number_is_told():
    comparison = compare_runs(
        [run("teacher"), *(run(f"odd-{index}", wrong=range(20 + 3 * index)) for index in range(5))]
    )
    told = [sentence for sentence in findings(comparison) if "pairs of students" in sentence]
    names = {f"odd-{index}" for index in range(5)}
    shown = sum(pair.p_holm < 0.05 for pair in comparison.pairs if {pair.first, pair.second} <= names)
    assert 0 < shown < 10
    assert told == [f"Of 10 pairs of students, a difference was found in {shown}; the table of pairs has each."]


def test_differences_are_those_of_the_tests_on_the_same_rows_seen_from_either_side():
    runs = [run(method, good=good, seed=seed) for method, good in (("teacher", 2), ("odd", 1.2)) for seed in (3, 5)]
    comparison = compare_runs(runs)
    predictions = {
        name: np.stack([r.test_predictions for r in runs if r.result.method == name]) for name in ("odd", "teacher")
    }
    (pair,) = compare_methods(runs[0].test_labels, predictions, classes=3, run_seeds={"odd": [3, 5], "teacher": [3, 5]})
    found = comparison.row("odd").to_teacher
    assert found.value == pytest.approx(pair.value)
    assert [found.interval.low, found.interval.high] == pytest.approx([pair.low, pair.high])
    assert found.p_holm == pair.p_holm
    assert [m.seed for m in comparison.pairs[0].mcnemar] == [3, 5]


def test_without_kept_predictions_nothing_is_tested_or_claimed():
    runs = [
        replace(record, test_labels=None, test_predictions=None, test_logits=None)
        for record in (run("teacher", good=3), run("odd", good=0.5))
    ]
    comparison = compare_runs(runs)
    assert comparison.pairs == comparison.family == ()
    assert comparison.row("odd").brier_score is None
    assert comparison.row("odd").to_teacher.p_holm is None
    assert not comparison.row("odd").to_teacher.is_shown
    assert comparison.row("odd").macro_f1.interval == runs[1].result.test.macro_f1_interval
    assert any(sentence.startswith("No method is shown to be the best") for sentence in findings(comparison))
    assert not any(isinstance(block, Table) for block in differences_section(comparison).blocks)
    assert calibration_section(comparison).blocks == ()
    assert plots.reliability_diagrams(comparison) is None


def test_one_class_alone_is_flagged_and_told():
    comparison = compare_runs([run("teacher"), run("odd", constant=True)])
    assert comparison.row("odd").flags == ("one class",)
    assert any("gave every test row the same class" in sentence for sentence in findings(comparison))


def test_a_class_of_few_test_rows_is_warned_of():
    runs = [run("teacher", names=("rare", "common"), wrong=range(3), rows=14)]
    rare = compare_runs(runs).scarce_classes
    assert rare
    warning = next(
        sentence for sentence in findings(compare_runs(runs)) if sentence.startswith("Fewer than 10 test rows")
    )
    assert all(f"{name} ({rows})" in warning for name, rows in rare.items())
    assert not any(sentence.startswith("Fewer than 10") for sentence in findings(compare_runs([run("teacher")])))


def test_class_and_probability_scores_are_those_of_scikit_learn():
    record = run("odd", good=1.5)
    row = compare_runs([record]).row("odd")
    truth, probabilities = record.test_labels, calibrated(record.test_logits, temperature=1.0)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, record.test_predictions)
    for index, scores in enumerate(row.classes.values()):
        expected = [precision[index], recall[index], f1[index]]
        assert [scores.precision.mean, scores.recall.mean, scores.f1.mean] == pytest.approx(expected, abs=1e-6)
        assert scores.f1.interval.low < scores.f1.mean < scores.f1.interval.high
    parts = [brier_score_loss(truth == index, probabilities[:, index]) for index in range(len(NAMES))]
    assert row.brier_score.mean == pytest.approx(sum(parts), abs=1e-6)
    assert row.macro_f1.mean == pytest.approx(f1_score(truth, record.test_predictions, average="macro"), abs=1e-6)
    assert row.calibration[0].temperature == 1
