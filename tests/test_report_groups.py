"""Whether compression hurt a class or a group: what is claimed, what is shown, and what is drawn."""

from __future__ import annotations

import functools
import operator
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilora.evaluation.records import Interval
from distilora.evaluation.suites.groups import group_tables
from distilora.report import plots
from distilora.report.blocks import Bullets, Document, FigureBlock, Fold, Paragraph, Table
from distilora.report.html import to_html
from distilora.report.markdown import to_markdown
from distilora.report.sections.cells import shown_change
from distilora.report.sections.groups import groups_section
from distilora.report.sections.suites import most_changed, suite_blocks
from distilora.report.suite_wording import FUNCTIONAL_TESTS, words_of_test
from distilora.report.wording import points, points_span
from section_cases import METHODS, NAMES, change, comparison, hatecheck, identity

shares = st.floats(-1, 1)


def with_changes(**changes):
    """Return a comparison in which each method named has these changes of its classes."""
    found = comparison()
    rows = [row.model_copy(update={"class_changes": changes.get(row.method, ())}) for row in found.methods]
    return found.model_copy(update={"methods": tuple(rows)})


def blocks_of(kind, section):
    """Return all blocks of one kind, those in folds included."""
    flat = []
    for block in getattr(section, "blocks", section):
        flat += [block, *(block.blocks if isinstance(block, Fold) else ())]
    return [block for block in flat if isinstance(block, kind)]


def sentences(section):
    return [item for block in blocks_of(Bullets, section) for item in block.items]


def table(section, start):
    return next(block for block in blocks_of(Table, section) if block.caption.startswith(start))


def test_a_class_is_told_to_be_hurt_only_where_p_is_below_the_level():
    found = with_changes(odd=(change(NAMES[0], -0.05, width=0.02), change(NAMES[1], -0.04, width=0.05)))
    section = groups_section(found)
    assert sentences(section)[0] == (
        "Lower recall than teacher: odd, hate speech (by 5.0 points, 95 % interval −7.0 to −3.0, p < 0.001)."
    )
    (row,) = table(section, "Recall").rows
    assert row == ("odd", "−5.0 (−7.0 to −3.0) *", "−4.0 (−9.0 to +1.0)", "—")


def test_where_every_interval_holds_0_nothing_is_claimed_and_equality_neither():
    section = groups_section(with_changes(odd=(change(NAMES[0], -0.01),), lora=(change(NAMES[0], 0.02),)))
    nothing, looked = sentences(section)
    assert nothing.startswith("No class is shown to be found less or more often")
    assert "That does not show that all classes are found as often" in nothing
    assert looked.startswith("Looked at were 2 changes")
    assert "corrected (Holm) for all of them" in looked
    assert not any("*" in cell for row in table(section, "Recall").rows for cell in row)


def test_a_class_whose_interval_leaves_out_0_is_not_told_once_all_changes_are_counted():
    section = groups_section(with_changes(odd=(change(NAMES[0], -0.03, p_holm=0.11),)))
    assert sentences(section)[0].startswith("No class is shown to be found less or more often")
    assert table(section, "Recall").rows == (("odd", "−3.0 (−5.5 to −0.5)", "—", "—"),)


def test_a_class_that_is_found_more_often_is_told_as_such():
    section = groups_section(with_changes(lora=(change(NAMES[2], 0.06),)))
    assert sentences(section)[0] == (
        "Higher recall than teacher: lora, neither (by 6.0 points, 95 % interval +3.5 to +8.5, p < 0.001)."
    )


def test_of_many_changes_only_the_largest_are_told_in_the_sentence():
    many = tuple(change(name, -0.05 - index / 100) for index, name in enumerate("abcdefgh"))
    told = sentences(groups_section(with_changes(odd=many)))[0]
    assert told.count("(by") == 6
    assert "; 2 more, see the table" in told
    assert "odd, h (" in told
    assert "odd, a (" not in told


@given(low=shares, width=st.floats(0, 1))
def test_no_interval_that_leaves_out_0_is_shown_to_end_in_it(low, width):
    interval = Interval(low=low, high=low + width)
    told = points_span(interval)
    assert interval.leaves_out_zero == (low > 0 or low + width < 0)
    if interval.leaves_out_zero:
        assert not re.search(r"(^| )0\.0($| )", told)
    assert shown_change(0.0, interval, is_shown=True).endswith(f"({told}) *")


def test_without_a_suite_the_section_says_how_to_get_one_and_that_classes_are_no_groups():
    hint = blocks_of(Paragraph, groups_section(comparison()))[-1].text
    assert "--set suites.hatecheck=FILE" in hint
    assert "--set suites.identity=FILE" in hint
    assert hint.startswith("Classes are not groups of people")
    assert "--positive" not in hint


def test_where_no_class_is_positive_the_hint_says_to_name_one():
    found = comparison()
    found = found.model_copy(update={"data": found.data.model_copy(update={"positive": ()})})
    assert "--positive CLASS --set suites" in blocks_of(Paragraph, groups_section(found))[-1].text


def test_with_a_suite_there_is_no_hint():
    section = groups_section(comparison().model_copy(update={"suites": (hatecheck(tests=2),)}))
    assert not any("--set" in block.text for block in blocks_of(Paragraph, section))


def test_a_comparison_of_baselines_alone_has_no_such_section():
    assert groups_section(comparison(("majority", "tfidf"))).blocks == ()


def test_a_group_that_is_shown_to_be_hurt_is_named_with_how_many_were_looked_at():
    suite = hatecheck(("teacher", "odd"), tests=4, lost=0.9)
    told = sentences(suite_blocks(comparison(), suite))
    looked = 1 + 2 + 4 + 2  # all cases, hateful and not, tests, targets
    assert re.match(r"odd against teacher: worse in “test_00_h” by \d+\.\d points", told[0])
    assert told[0].endswith(f"Looked at were {looked} comparisons.")
    assert "look how wide the intervals are" in told[-1]


def test_a_student_that_says_the_same_is_told_to_show_no_difference():
    told = sentences(suite_blocks(comparison(), hatecheck(("teacher", "odd"), tests=4, lost=0.0)))
    assert told[0] == "odd against teacher: no difference was found in 9 comparisons."


def test_every_functional_test_stands_once_the_worst_in_the_open():
    suite = hatecheck(tests=29, lost=0.5)
    blocks = suite_blocks(comparison(), suite)
    shown = [block for block in blocks if isinstance(block, Table) and block.columns[0] == "functional test"]
    folded = [one for one in blocks_of(Table, blocks) if one.columns[0] == "functional test" and one not in shown]
    names = [[row[0] for row in one.rows] for one in (*shown, *folded)]
    assert [len(part) for part in names] == [5, 24]
    expected = next(one for one in group_tables(suite) if one.family == "functional test")
    assert functools.reduce(operator.iadd, names, []) == [row.name for row in expected.rows]


def test_every_change_of_every_group_stands_in_the_fold_with_its_own_value():
    suite = hatecheck(tests=5, lost=0.5)
    found = table(suite_blocks(comparison(), suite), "HateCheck: change against teacher")
    by_group = {row[0]: row for row in found.rows}
    assert found.columns == ("group", "rows", "odd", "even", "lora")
    assert len(by_group) == len(suite.models[1].changes)
    for column, model in enumerate(suite.models[1:], start=2):
        before, after = (
            {one.name: one.accuracy for one in scores.hatecheck.functionalities} for scores in (suite.models[0], model)
        )
        for name, accuracy in after.items():
            assert by_group[name][column].startswith(points(accuracy - before[name]))


def test_a_star_stands_at_every_change_that_is_shown_and_at_no_other():
    suite = hatecheck(tests=5, lost=0.8)
    found = table(suite_blocks(comparison(), suite), "HateCheck: change against teacher")
    starred = sum(cell.endswith("*") for row in found.rows for cell in row)
    assert starred == sum(change.is_shown for model in suite.models for change in model.changes) > 0


def test_the_figure_shows_the_largest_changes_those_that_are_shown_first_and_fewer_of_many_methods():
    few, many = (hatecheck(methods, tests=20, lost=0.9) for methods in (METHODS, tuple("abcdefghijklmnopq")))
    assert most_changed(few)[0].name == "test_00_h"
    identities = identity(METHODS, groups=tuple("abcdefgh"))
    crowd = identity(tuple("abcdefghijklmnopq"), groups=tuple("abcdefgh"))
    assert (len(most_changed(identities)), len(most_changed(crowd))) == (10, 4)
    assert [one.value for one in most_changed(identities)] == sorted(one.value for one in most_changed(identities))
    assert len(most_changed(many)) <= 4


def test_identity_groups_are_told_by_all_three_aucs_and_their_means():
    blocks = suite_blocks(comparison(), identity())
    captions = [block.caption for block in blocks_of(Table, blocks)]
    assert [caption.split(" by")[0] for caption in captions[1:4]] == ["subgroup AUC", "BPSN AUC", "BNSP AUC"]
    overall = table(blocks, "Identity terms, all rows")
    scores = identity().models[0].identity
    assert overall.rows[0][1] == f"{scores.overall.value:.3f}"
    assert overall.rows[0][3:] == tuple(
        f"{mean:.3f}" for mean in (scores.subgroup_mean, scores.bpsn_mean, scores.bnsp_mean, scores.final)
    )


def test_a_suite_of_the_teacher_alone_has_tables_and_claims_nothing():
    blocks = suite_blocks(comparison(), hatecheck(("teacher",), tests=3))
    assert not blocks_of(Bullets, blocks)
    assert not blocks_of(FigureBlock, blocks)
    assert table(blocks, "HateCheck, all rows").rows[0][0] == "teacher"


def test_scores_that_flatter_and_notes_are_told():
    suite = identity(("teacher", "odd"))
    models = tuple(model.model_copy(update={"trained_on_source": True}) for model in suite.models)
    suite = suite.model_copy(update={"models": models, "notes": ("group is taken from column \x1b x",)})
    told = suite_blocks(comparison(), suite)[0].text
    assert "so the scores flatter" in told
    assert told.endswith("Notes: group is taken from column � x.")


def test_a_path_of_a_machine_is_not_published():
    suite = hatecheck(("teacher",), tests=2).model_copy(update={"source": "/home/someone/cases.csv"})
    assert "of cases.csv," in suite_blocks(comparison(), suite)[0].text
    hub = suite.model_copy(update={"source": "Paul/hatecheck"})
    assert "of Paul/hatecheck," in suite_blocks(comparison(), hub)[0].text


def test_all_published_functional_tests_have_plain_words():
    assert len(FUNCTIONAL_TESTS) == len(set(FUNCTIONAL_TESTS.values())) == 29  # Röttger et al. (2021), table 1
    harmless = [name for name in FUNCTIONAL_TESTS if name.endswith("_nh")]
    assert len(harmless) == 11  # ibid.: 18 tests for hate, 11 for contrastive non-hate
    assert words_of_test("spell_leet_h") == "leet speak (spell_leet_h)"


@pytest.mark.parametrize("write", [to_html, to_markdown])
def test_names_of_classes_and_groups_stay_text(write):
    names = ("<b>bold</b>", "a|b", "\u202eright to left")
    found = comparison(names=names).model_copy(
        update={"suites": (identity(groups=("<script>x</script>", "$\\alpha$ & co")),)}
    )
    text = write(Document("t", "l", (groups_section(found),)))
    assert "<script>x" not in text
    assert "<b>bold" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("methods", [("teacher", "odd"), METHODS, (*METHODS, *(f"own-{i}" for i in range(6)))])
@pytest.mark.parametrize("classes", [2, 3, 8])
def test_the_figure_of_classes_names_every_class_and_method_and_is_the_same_each_time(methods, classes):
    found = comparison(methods, names=tuple(f"class {index}" for index in range(classes)))
    drawn = plots.class_changes(found)
    assert all(f">{name}<" in drawn for name in (*found.data.label_names, *methods[1:]))
    assert drawn == plots.class_changes(found)


def test_a_comparison_without_a_student_has_no_figure_of_classes():
    assert plots.class_changes(comparison(("teacher",))) is None


def test_changes_that_are_all_0_are_drawn_too():
    found = with_changes(odd=tuple(change(name, 0.0, width=0.0) for name in NAMES))
    assert ">odd<" in plots.class_changes(found)


def test_a_suite_that_was_asked_of_a_method_since_removed_is_still_told():
    suite = hatecheck((*METHODS, "gone"), tests=3, lost=0.9)
    blocks = suite_blocks(comparison(), suite)
    (drawn,) = blocks_of(FigureBlock, blocks)
    assert ">gone<" not in drawn.svg
    assert any("gone against teacher" in sentence for sentence in sentences(blocks))
