"""Single rows: what is counted, what is listed, and that a comment stays a comment."""

from __future__ import annotations

import re

import pytest

from distilora.report.blocks import Document, Fold, Links, Paragraph, Table
from distilora.report.html import to_html
from distilora.report.markdown import to_markdown
from distilora.report.sections.errors import (
    MAIN_ROWS,
    disagreement_table,
    errors_section,
    label_error_table,
    method_errors_section,
)
from section_cases import HOSTILE, METHODS, comparison, disagreements, label_errors

MANY = tuple(f"comment {index}" for index in range(30))


def with_rows(found, errors=None):
    """Return a comparison in which each student has these disagreements."""
    base = comparison()
    rows = [
        row.model_copy(update={"disagreements": found if row.kind in {"student", "lora"} else None})
        for row in base.methods
    ]
    return base.model_copy(update={"methods": tuple(rows), "label_errors": errors})


def folds(section):
    return [block for block in section.blocks if isinstance(block, Fold)]


def paragraphs(section):
    return " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))


def test_each_method_is_counted_by_who_was_right():
    found = disagreements(MANY)
    section = errors_section(with_rows(found))
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == list(METHODS[1:])
    for row in table.rows:
        counts = [int(cell) for cell in (row[1], *row[3:])]
        assert counts == [found.count, found.teacher_right, found.student_right, found.neither_right]
        assert counts[0] == sum(counts[1:]) == 29


def test_the_main_page_lists_the_first_rows_and_leads_to_all():
    section = errors_section(with_rows(disagreements(MANY)))
    assert [fold.title for fold in folds(section)] == [
        f"{method} against the teacher: 10 of 29 rows" for method in METHODS[1:]
    ]
    table, links = folds(section)[0].blocks
    assert len(table.rows) == MAIN_ROWS
    assert table.caption.startswith("10 of 29 rows")
    assert links.items[0][1] == "odd/disagreements.csv"


def test_the_page_of_a_method_lists_all_rows_that_are_kept_in_their_order():
    found = with_rows(disagreements(MANY, limit=25))
    section = method_errors_section(found, found.row("odd"))
    table = next(one for one in section.blocks if isinstance(one, Table) and one.columns[0] == "row")
    assert [int(row[0]) for row in table.rows] == [one.row for one in found.row("odd").disagreements.top]
    assert len(table.rows) == 25
    assert table.caption.startswith("25 of 29 rows on which odd and the teacher disagree")
    assert next(one for one in section.blocks if isinstance(one, Links)).items[0][1] == "disagreements.csv"
    assert method_errors_section(found, found.row("teacher")).blocks == ()


def test_a_row_tells_both_answers_with_their_probabilities_and_who_was_right():
    found = with_rows(disagreements(MANY)).row("odd")
    one, cells = found.disagreements.top[0], disagreement_table(found, limit=1).rows[0]
    assert cells[:3] == (str(one.row), one.text, one.label)
    assert (cells[3].text, cells[3].key) == (f"{one.teacher} {one.teacher_probability:.2f}", one.teacher_probability)
    assert (cells[4].text, cells[4].key) == (f"{one.student} {one.student_probability:.2f}", one.student_probability)
    assert cells[5] == {"teacher": "teacher", "student": "odd", "neither": "neither"}[one.right]


def test_likely_label_errors_are_counted_with_a_caution_and_listed():
    found = label_errors(MANY)
    section = errors_section(with_rows(None, found))
    text = paragraphs(section)
    assert f"of 90 test rows, {found.count} have a label that is likely wrong" in text
    assert "no proof" in text
    assert f"{100 * found.estimated_error_share:.1f} % of all labels" in text
    assert "The best method, teacher," in text
    table, links = folds(section)[-1].blocks
    assert len(table.rows) == MAIN_ROWS
    assert links.items[0][1] == "label-errors.csv"
    assert len(label_error_table(found).rows) == found.count == 30


def test_a_reader_is_warned_before_the_first_comment():
    section = errors_section(with_rows(disagreements()))
    assert isinstance(section.blocks[0], Paragraph)
    assert "Some are vile" in section.blocks[0].text


def test_where_no_comment_may_be_shown_the_counts_stand_with_how_to_get_them():
    found = with_rows(disagreements(MANY, limit=0), label_errors(MANY, limit=0))
    section = errors_section(found)
    assert not folds(section)
    assert "comment 1" not in str(section)
    assert "--set report.error_rows=50" in paragraphs(section)
    assert "vile" not in paragraphs(section)
    assert next(block for block in section.blocks if isinstance(block, Table)).rows[0][1] == "29"
    own = method_errors_section(found, found.row("odd"))
    assert [type(block) for block in own.blocks] == [Table]


def test_where_texts_were_not_kept_the_section_says_what_to_do():
    section = errors_section(with_rows(None))
    assert len(section.blocks) == 1
    assert "distilora compare" in paragraphs(section)


def test_a_comparison_of_baselines_alone_has_no_such_section():
    assert errors_section(comparison(("majority", "tfidf"))).blocks == ()


def test_methods_that_agree_everywhere_have_counts_of_0_and_no_list():
    agreed = disagreements(MANY).model_copy(
        update={"count": 0, "teacher_right": 0, "student_right": 0, "neither_right": 0, "top": ()}
    )
    section = errors_section(with_rows(agreed))
    assert [type(block) for block in section.blocks] == [Table]
    assert section.blocks[0].rows[0] == ("odd", "0", "0.0 %", "0", "0", "0")


def test_a_method_whose_name_is_no_folder_gets_no_link():
    found = with_rows(disagreements())
    odd = found.methods[1].model_copy(update={"method": "../../up"})
    section = errors_section(found.model_copy(update={"methods": (found.methods[0], odd)}))
    assert not any(isinstance(block, Links) for fold in folds(section) for block in fold.blocks)


def test_no_comment_is_longer_than_a_reader_wants_or_tells_the_page_what_to_do():
    found = with_rows(disagreements(), label_errors())
    page = to_html(Document("t", "l", (errors_section(found),)))
    body = page[page.index("<main") :]
    assert "<script>alert" not in body
    assert "<img" not in body
    assert "&lt;script&gt;alert" in body
    assert 'href="javascript' not in body
    assert "x" * 300 not in body
    assert not re.search(r"[\ud800-\udfff\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", body)
    body.encode()


def test_comments_stay_text_in_markdown_too():
    text = to_markdown(Document("t", "l", (errors_section(with_rows(disagreements(), label_errors())),)))
    assert "<script>" not in text
    assert "[a](javascript" not in text
    assert "\n# heading" not in text
    lines = [line for line in text.splitlines() if line.startswith("| 14 ")]
    assert lines
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 7 for line in lines)
    text.encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_every_hostile_comment_makes_a_cell_of_at_most_200_characters(text):
    found = with_rows(disagreements((text,) * 5)).row("odd")
    cells = [row[1] for row in disagreement_table(found).rows]
    assert cells
    assert all(0 < len(cell) <= 200 and "\n" not in cell for cell in cells)
