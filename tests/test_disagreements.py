"""Rows on which teacher and student differ: counted rightly, the most confident first, safe to open as a table."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import accuracy_score

from distilora.data.cells import csv_line, safe_cell
from distilora.data.records import Comments
from distilora.evaluation.disagreements import (
    COLUMNS,
    Disagreement,
    Disagreements,
    disagreement_lines,
    find_disagreements,
)
from distilora.evaluation.labelled_texts import LabelledTexts, labelled_texts, mean_probabilities

NAMES = ("hate", "offensive", "neither")
Shares = NDArray[np.float64]


def asked(rows: int = 120, *, seed: int = 0) -> tuple[LabelledTexts, Shares, Shares]:
    """Return texts whose row numbers are not their positions, with the answers of two models."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, rows)
    numbers = draw.permutation(np.arange(1, 3 * rows))[:rows]
    teacher = softmax(draw.normal(size=(rows, 3)) + 2 * np.eye(3)[labels], axis=1)
    student = softmax(np.log(teacher) + draw.normal(size=(rows, 3)), axis=1)
    return LabelledTexts([f"text {number}" for number in numbers], labels, NAMES, numbers), teacher, student


def test_every_row_on_which_they_differ_is_counted_once_and_listed_with_its_own_answers() -> None:
    rows, teacher, student = asked()
    found = find_disagreements(rows, teacher, student, limit=None)
    positions = {int(number): index for index, number in enumerate(rows.row_numbers)}
    differing = [index for index in range(len(rows)) if teacher[index].argmax() != student[index].argmax()]
    assert 10 < found.count == len(differing) < found.rows == 120
    assert sorted(positions[one.row] for one in found.top) == differing
    for one in found.top:
        index = positions[one.row]
        assert one.text == f"text {one.row}"
        assert one.label == NAMES[rows.labels[index]]
        assert (one.teacher, one.teacher_probability) == (NAMES[teacher[index].argmax()], teacher[index].max())
        assert (one.student, one.student_probability) == (NAMES[student[index].argmax()], student[index].max())


def test_who_is_right_more_often_is_the_difference_of_scikit_learn_s_accuracies() -> None:
    rows, teacher, student = asked()
    found = find_disagreements(rows, teacher, student, limit=None)
    gap = accuracy_score(rows.labels, teacher.argmax(axis=1)) - accuracy_score(rows.labels, student.argmax(axis=1))
    assert (found.teacher_right - found.student_right) / found.rows == pytest.approx(gap, abs=1e-12)
    assert found.neither_right > 0
    assert found.teacher_right + found.student_right + found.neither_right == found.count
    for who in ("teacher", "student", "neither"):
        assert sum(one.right == who for one in found.top) == getattr(found, f"{who}_right")


def test_two_sure_models_come_before_one_that_is_surer_and_one_that_cannot_decide() -> None:
    rows = LabelledTexts(["one wavers", "both sure"], np.array([0, 0]), ("no", "yes"), np.array([1, 2]))
    found = find_disagreements(rows, np.array([[0.99, 0.01], [0.9, 0.1]]), np.array([[0.49, 0.51], [0.1, 0.9]]))
    assert [one.text for one in found.top] == ["both sure", "one wavers"]
    assert [one.confidence for one in found.top] == [0.9, 0.51]


def test_equally_confident_rows_come_in_the_order_of_the_source() -> None:
    rows = LabelledTexts(["c", "a", "b"], np.array([0, 0, 0]), ("no", "yes"), np.array([9, 1, 4]))
    shares = np.array([[0.8, 0.2]] * 3)
    found = find_disagreements(rows, shares, shares[:, ::-1])
    assert [one.text for one in found.top] == ["a", "b", "c"]


@given(limit=st.one_of(st.none(), st.integers(0, 200)), seed=st.integers(0, 20))
def test_a_limit_cuts_the_list_and_not_the_counts(limit: int | None, seed: int) -> None:
    rows, teacher, student = asked(60, seed=seed)
    all_of_them, found = (find_disagreements(rows, teacher, student, limit=most) for most in (None, limit))
    assert found.top == all_of_them.top[:limit]
    assert found.count == all_of_them.count == len(all_of_them.top)
    confidences = [one.confidence for one in all_of_them.top]
    assert confidences == sorted(confidences, reverse=True)


def test_a_model_never_disagrees_with_itself() -> None:
    rows, teacher, _ = asked()
    assert find_disagreements(rows, teacher, teacher).count == 0


def test_the_record_is_read_back_as_it_was_written() -> None:
    found = find_disagreements(*asked())
    assert Disagreements.model_validate_json(found.model_dump_json()) == found


def test_probabilities_of_other_rows_and_logits_are_refused() -> None:
    rows, teacher, student = asked()
    with pytest.raises(ValueError, match=r"shape \(119, 3\); \(rows, classes\) is \(120, 3\)"):
        find_disagreements(rows, teacher, student[1:])
    with pytest.raises(ValueError, match="logits are none"):
        find_disagreements(rows, np.log(teacher), student)
    with pytest.raises(ValueError, match="logits are none"):
        find_disagreements(rows, teacher, np.full_like(student, np.nan))


@pytest.mark.parametrize(
    "text", ["=1+1", "  +cmd", "\u200b@SUM(A1)", "\tx", "-2", "＝A1", 'plain, "quoted"\r\nlines 🙂']
)
def test_a_spreadsheet_takes_no_cell_for_a_formula_and_a_reader_gets_every_cell(text: str) -> None:
    one = Disagreement(
        row=7,
        text=text,
        label="=label",
        teacher="@a",
        teacher_probability=0.75,
        student="-b",
        student_probability=0.625,
    )
    header, cells = csv.reader(io.StringIO("".join(disagreement_lines([one])), newline=""))
    assert tuple(header) == COLUMNS
    assert cells == ["7", safe_cell(text), "'=label", "'@a", "0.75", "'-b", "0.625", "0.625", "neither"]
    assert cells[1] == (text if text.startswith("plain") else f"'{text}")


def test_a_negative_number_is_a_number_and_a_text_with_a_minus_is_none() -> None:
    assert csv_line([-0.5, -1, "-0.5"]) == "-0.5,-1,'-0.5\r\n"


def test_a_part_keeps_the_row_numbers_of_its_source() -> None:
    comments = Comments(
        source="some.csv",
        texts=("a", "b", "c"),
        labels=np.array([0, 1, 1]),
        label_names=("no", "yes"),
        positive=(),
        row_numbers=np.array([1, 3, 4]),
        parts=None,
        sha256="",
    )
    part = labelled_texts(comments, np.array([1, 2]))
    assert (list(part.texts), part.labels.tolist(), part.row_numbers.tolist()) == (["b", "c"], [1, 1], [3, 4])
    assert len(part) == 2


def test_probabilities_are_scipy_s_softmax_averaged_over_seeds() -> None:
    logits = np.random.default_rng(0).normal(scale=30, size=(3, 50, 4)).astype(np.float32)
    expected = softmax(logits.astype(np.float64), axis=2).mean(axis=0)
    assert mean_probabilities(logits) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match=r"need \(seeds, rows, classes\)"):
        mean_probabilities(logits[0])
    with pytest.raises(ValueError, match=r"need \(seeds, rows, classes\)"):
        mean_probabilities(logits[:0])
