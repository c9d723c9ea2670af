"""Confident learning against cleanlab, against plain loops, and on labels that were made wrong on purpose."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from distilora.evaluation.label_errors import (
    COLUMNS,
    LabelErrors,
    class_thresholds,
    confident_classes,
    confident_joint,
    find_label_errors,
    label_error_lines,
    label_margins,
)
from distilora.evaluation.labelled_texts import LabelledTexts

NAMES = ("hate", "offensive", "neither")
LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2])
SHARES = np.array(
    [
        [0.90, 0.06, 0.04],
        [0.72, 0.20, 0.08],
        [0.55, 0.30, 0.15],
        [0.10, 0.82, 0.08],
        [0.50, 0.46, 0.04],  # its label is the likeliest, but only the other class reaches its threshold
        [0.35, 0.25, 0.40],  # reaches no threshold
        [0.12, 0.80, 0.08],
        [0.20, 0.61, 0.19],
        [0.74, 0.21, 0.05],
        [0.05, 0.15, 0.80],
        [0.03, 0.07, 0.90],
        [0.10, 0.25, 0.65],
        [0.40, 0.15, 0.45],
        [0.80, 0.13, 0.07],
        [0.30, 0.52, 0.18],
    ]
)
# From cleanlab 2.9.0: get_confident_thresholds, compute_confident_joint(calibrate=False),
# get_normalized_margin_for_each_label (there (1 + margin) / 2), find_label_issues(filter_by="confident_learning",
# return_indices_ranked_by="normalized_margin"), and 1 - trace(estimate_joint) of all rows five times over, as cleanlab
# rounds the joint to whole rows.
THRESHOLDS = [0.52, 0.4425, 0.45]
JOINT = [[3, 2, 0], [1, 2, 1], [1, 1, 3]]
NORMALISED_MARGINS = [0.92, 0.76, 0.625, 0.14, 0.52, 0.475, 0.84, 0.705, 0.235, 0.175, 0.915, 0.7, 0.525, 0.135, 0.33]
RANKED = [13, 3, 9, 8, 14]
ERROR_SHARE = 0.42666666666666675


def rows_of(labels: NDArray[np.int64], names: tuple[str, ...] = NAMES) -> LabelledTexts:
    return LabelledTexts(
        texts=[f"text {index}" for index in range(len(labels))],
        labels=labels,
        label_names=names,
        row_numbers=np.arange(len(labels)),
    )


def test_thresholds_joint_margins_and_ranking_are_cleanlab_s() -> None:
    found = find_label_errors(rows_of(LABELS), SHARES)
    assert list(found.thresholds.values()) == pytest.approx(THRESHOLDS, abs=1e-9)
    assert [list(row) for row in found.confident_joint] == JOINT
    assert (1 + label_margins(SHARES, LABELS)) / 2 == pytest.approx(NORMALISED_MARGINS, abs=1e-9)
    assert [error.row for error in found.top] == RANKED
    assert found.count == len(RANKED)
    assert found.estimated_error_share == pytest.approx(ERROR_SHARE, abs=1e-9)


def test_a_listed_row_says_what_it_is_labelled_and_what_it_should_be() -> None:
    first = find_label_errors(rows_of(LABELS), SHARES, limit=1).top[0]
    assert (first.row, first.text, first.label, first.suggested) == (13, "text 13", "neither", "hate")
    assert (first.label_probability, first.suggested_probability) == (0.07, 0.80)
    assert first.margin == pytest.approx(-0.73)


@st.composite
def judged(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels, of which some class may have none, and coarse probabilities, so that ties and equalities occur."""
    count = draw(st.integers(1, 25))
    labels = np.array(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), dtype=np.int64)
    weights = draw(st.lists(st.tuples(*[st.integers(1, 5)] * 3), min_size=count, max_size=count))
    return labels, np.array([np.array(row) / sum(row) for row in weights])


@given(judged())
@settings(deadline=None)
def test_the_equations_read_row_by_row_give_the_same(data: tuple[NDArray[np.int64], NDArray[np.float64]]) -> None:
    labels, shares = data
    found = find_label_errors(rows_of(labels), shares, limit=None)
    joint = [[0] * 3 for _ in range(3)]
    wrong = []
    for index, (label, row) in enumerate(zip(labels, shares, strict=True)):
        means = {c: [shares[i, c] for i in range(len(labels)) if labels[i] == c] for c in range(3)}
        reached = [c for c in range(3) if means[c] and row[c] >= sum(means[c]) / len(means[c]) - 1e-9]
        if not reached:
            continue
        guess = max(reached, key=lambda c: row[c])
        joint[label][guess] += 1
        margin = row[label] - max(row[c] for c in range(3) if c != label)
        if guess != label and margin < 0:
            wrong.append((margin, index))
    assert [list(row) for row in found.confident_joint] == joint
    assert [error.row for error in found.top] == [index for _, index in sorted(wrong)]
    assert 0 <= found.estimated_error_share <= 1


@given(judged(), st.integers(0, 30))
def test_a_limit_cuts_the_list_and_not_the_counts(
    data: tuple[NDArray[np.int64], NDArray[np.float64]], limit: int
) -> None:
    labels, shares = data
    whole, found = (find_label_errors(rows_of(labels), shares, limit=most) for most in (None, limit))
    assert found.top == whole.top[:limit]
    assert found.model_copy(update={"top": whole.top}) == whole
    assert whole.count == len(whole.top)


@given(judged(), st.randoms())
def test_the_order_of_the_rows_changes_nothing(
    data: tuple[NDArray[np.int64], NDArray[np.float64]], random: object
) -> None:
    labels, shares = data
    order = np.arange(len(labels))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = LabelledTexts([f"text {index}" for index in order], labels[order], NAMES, order)
    one = find_label_errors(rows_of(labels), shares, limit=None)
    two = find_label_errors(shuffled, shares[order], limit=None)
    assert [error.row for error in one.top] == [error.row for error in two.top]
    assert one.confident_joint == two.confident_joint


@pytest.mark.parametrize("wrong_share", [0.05, 0.2])
def test_labels_made_wrong_on_purpose_are_found_and_counted(wrong_share: float) -> None:
    draw = np.random.default_rng(0)
    rows = 4000
    true = draw.choice(3, rows, p=[0.2, 0.5, 0.3])
    logits = draw.normal(size=(rows, 3)) + 5 * np.eye(3)[true]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    is_wrong = draw.random(rows) < wrong_share
    labels = np.where(is_wrong, (true + draw.integers(1, 3, rows)) % 3, true)
    found = find_label_errors(rows_of(labels), shares, limit=None)
    listed = np.array([error.row for error in found.top])
    assert is_wrong[listed].mean() > 0.9
    assert is_wrong[listed].sum() > 0.9 * is_wrong.sum()
    assert found.estimated_error_share == pytest.approx(is_wrong.mean(), abs=0.02)
    halves = np.array_split(is_wrong[listed], 2)
    assert halves[0].mean() >= halves[1].mean()


def test_right_and_sure_labels_are_no_errors() -> None:
    labels = np.array([0, 1, 2] * 10)
    found = find_label_errors(rows_of(labels), np.eye(3)[labels])
    assert (found.count, found.top, found.estimated_error_share) == (0, (), 0.0)


def test_a_class_without_rows_has_no_threshold_and_is_suggested_for_none() -> None:
    labels = np.array([0, 0, 1])
    found = find_label_errors(rows_of(labels), np.array([[0.1, 0.1, 0.8], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]))
    assert found.thresholds["neither"] is None
    assert [row[2] for row in found.confident_joint] == [0, 0, 0]
    assert LabelErrors.model_validate_json(found.model_dump_json()) == found


def test_rows_that_all_say_the_same_reach_their_own_mean_whatever_the_rounding() -> None:
    shares = np.tile([0.1, 0.9], (3, 1))
    thresholds = class_thresholds(shares, np.array([0, 0, 0]))
    assert thresholds[0] > 0.1  # in binary
    assert confident_classes(shares, thresholds).tolist() == [0, 0, 0]


def test_rows_that_reach_no_threshold_are_in_no_cell() -> None:
    assert confident_joint(np.array([0, 1]), np.array([-1, 0]), classes=2).tolist() == [[0, 0], [1, 0]]


def test_no_rows_other_shapes_and_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        find_label_errors(rows_of(LABELS[:0]), SHARES[:0])
    with pytest.raises(ValueError, match=r"shape \(14, 3\)"):
        find_label_errors(rows_of(LABELS), SHARES[1:])
    with pytest.raises(ValueError, match="logits are none"):
        find_label_errors(rows_of(LABELS), np.log(SHARES))


def test_the_csv_holds_every_field_and_no_formula() -> None:
    rows = rows_of(LABELS, ("=hate", "offensive", "neither"))
    found = find_label_errors(rows, SHARES)
    header, *lines = csv.reader(io.StringIO("".join(label_error_lines(found.top)), newline=""))
    assert tuple(header) == COLUMNS
    assert lines[0][:3] + lines[0][4:5] == ["13", "text 13", "neither", "'=hate"]
    assert [float(cell) for cell in lines[0][3:4] + lines[0][5:]] == pytest.approx([0.07, 0.8, -0.73])
    assert len(lines) == found.count
