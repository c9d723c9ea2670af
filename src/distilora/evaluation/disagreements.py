"""Rows that two models answer differently, for a person to look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distilora.data.cells import record_lines
from distilora.evaluation.labelled_texts import LabelledTexts
from distilora.records import Record

COLUMNS = (
    "row",
    "text",
    "label",
    "teacher",
    "teacher_probability",
    "student",
    "student_probability",
    "confidence",
    "right",
)


class Disagreement(Record):
    """One row on which teacher and student chose different classes."""

    row: int
    """Row in the source, from 1, the header not counted."""
    text: str
    label: str
    """What the data says."""
    teacher: str
    teacher_probability: float
    """That the teacher gives to the class it chose."""
    student: str
    student_probability: float
    """That the student gives to the class it chose."""

    @property
    def confidence(self) -> float:
        """Return the smaller of the two probabilities.

        It is high only where both are sure, and so one of them surely wrong. The larger one would bring rows to the
        top on which one of the two merely cannot decide.
        """
        return min(self.teacher_probability, self.student_probability)

    @property
    def right(self) -> Literal["teacher", "student", "neither"]:
        """Return who chose the class that the data says."""
        if self.label == self.teacher:
            return "teacher"
        return "student" if self.label == self.student else "neither"


class Disagreements(Record):
    """How often teacher and student chose different classes, and on which rows most confidently."""

    rows: int
    """Rows that both answered."""
    count: int
    """Rows on which they differ: the sum of the three below."""
    teacher_right: int
    student_right: int
    neither_right: int
    top: tuple[Disagreement, ...]
    """Most confident first, of equally confident ones the earlier row; no more than were asked for."""


def find_disagreements(
    rows: LabelledTexts,
    teacher_probabilities: NDArray[np.float64],
    student_probabilities: NDArray[np.float64],
    *,
    limit: int | None = 50,
) -> Disagreements:
    """Return the rows on which teacher and student choose different classes, most confident first.

    Args:
        rows: what was asked.
        teacher_probabilities: of one seed, or the mean over seeds; the likeliest class is the one chosen. Shape (rows,
            classes).
        student_probabilities: same shape.
        limit: longest list that is wanted; absent: all. The counts are of all rows in any case.

    Raises:
        ValueError: shapes differ, or probabilities are none.

    Example:
        >>> rows = LabelledTexts(["ha", "oh"], np.array([0, 1]), ("no", "yes"), np.array([1, 2]))
        >>> found = find_disagreements(rows, np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.3, 0.7], [0.4, 0.6]]))
        >>> found.count, found.top[0].text, found.top[0].confidence, found.top[0].right
        (1, 'ha', 0.7, 'teacher')
    """
    rows.require_probabilities(teacher_probabilities)
    rows.require_probabilities(student_probabilities)
    teacher, student = teacher_probabilities.argmax(axis=1), student_probabilities.argmax(axis=1)
    differ = np.flatnonzero(teacher != student)
    confidence = np.minimum(teacher_probabilities.max(axis=1), student_probabilities.max(axis=1))
    order = differ[np.lexsort((rows.row_numbers[differ], -confidence[differ]))]
    teacher_right = int((teacher == rows.labels)[differ].sum())
    student_right = int((student == rows.labels)[differ].sum())
    names = rows.label_names
    return Disagreements(
        rows=len(rows),
        count=len(differ),
        teacher_right=teacher_right,
        student_right=student_right,
        neither_right=len(differ) - teacher_right - student_right,
        top=tuple(
            Disagreement(
                row=int(rows.row_numbers[index]),
                text=rows.texts[index],
                label=names[rows.labels[index]],
                teacher=names[teacher[index]],
                teacher_probability=float(teacher_probabilities[index].max()),
                student=names[student[index]],
                student_probability=float(student_probabilities[index].max()),
            )
            for index in order[:limit]
        ),
    )


def disagreement_lines(found: Iterable[Disagreement]) -> Iterator[str]:
    """Return a CSV (RFC 4180) with a header: one string a row, its line end included, no cell a formula.

    Example:
        >>> next(disagreement_lines([])).rstrip()
        'row,text,label,teacher,teacher_probability,student,student_probability,confidence,right'
    """
    return record_lines(found, COLUMNS)
