"""What noise costs: the numbers of the section, and what it claims."""

from __future__ import annotations

import unicodedata

import pytest

from distilora.evaluation.robustness.noise import NOISES
from distilora.report import plots
from distilora.report.blocks import Bullets, Document, FigureBlock, Fold, Paragraph, Table
from distilora.report.html import to_html
from distilora.report.sections.robustness import robustness_section
from distilora.report.wording import number
from section_cases import METHODS, comparison, drop


def with_noise(**drops):
    """Return a comparison in which only the methods named were asked with noise."""
    found = comparison()
    rows = [row.model_copy(update={"noise": drops.get(row.method, ())}) for row in found.methods]
    return found.model_copy(update={"methods": tuple(rows)})


def told(section):
    return next(block.items for block in section.blocks if isinstance(block, Bullets))


def tables(section):
    inner = [one for block in section.blocks for one in (block.blocks if isinstance(block, Fold) else (block,))]
    return [one for one in inner if isinstance(one, Table) and "example" not in one.columns]


def test_each_method_is_told_with_the_noise_that_costs_it_most():
    section = robustness_section(with_noise(odd=(drop("spaced", 0.1), drop("leetspeak", 0.2), drop("upper-case", 0))))
    assert told(section) == (
        "odd loses most to leetspeak noise: 20.0 points of macro-F1 (95 % interval +18.5 to +21.5), from 0.800 to "
        "0.600. No change was found under upper-case.",
    )


def test_a_drop_whose_interval_holds_0_is_not_told_as_one():
    section = robustness_section(with_noise(odd=(drop("spaced", 0.01), drop("leetspeak", -0.1))))
    assert told(section) == ("odd: no drop was found under any of 2 kinds of noise.",)
    assert [row[1] for row in tables(section)[0].rows] == ["+1.0 (−0.5 to +2.5)", "−10.0 (−11.5 to −8.5) *"]


def test_methods_are_not_compared_with_each_other():
    section = robustness_section(comparison())
    note = next(block.text for block in section.blocks if isinstance(block, Paragraph))
    assert "do not tell whether one method loses more than another" in note
    assert not any("teacher" in sentence for sentence in told(section)[1:])


def test_the_section_says_how_many_rows_were_asked_and_how_strong_the_noise_is():
    note = robustness_section(comparison()).blocks[0].text
    assert "answered 200 test rows again" in note
    assert "half of the words" in note


def test_clean_and_noisy_scores_and_their_drop_fit_together_in_the_tables():
    found = comparison()
    drops, scores = tables(robustness_section(found))
    assert scores.rows[0] == ("none", *["0.800"] * len(METHODS))
    for place, kind in enumerate(NOISES):
        assert drops.rows[place][0] == scores.rows[place + 1][0] == kind
        for column, row in enumerate(found.methods, start=1):
            assert scores.rows[place + 1][column] == number(0.8 - row.noise[place].drop)


def test_a_method_that_was_not_asked_with_a_kind_has_a_dash_and_never_a_0():
    section = robustness_section(with_noise(odd=(drop("spaced", 0.1),), lora=(drop("dropped", 0.1),)))
    drops, scores = tables(section)
    assert [row[2] for row in drops.rows] == ["—", "+10.0 (+8.5 to +11.5) *"]
    assert [row[1] for row in scores.rows] == ["0.800", "0.700", "—"]


def test_every_kind_of_noise_is_explained_with_an_example_in_which_everything_can_be_seen():
    fold = next(block for block in robustness_section(comparison()).blocks if isinstance(block, Fold))
    rows = fold.blocks[0].rows
    assert [row[:2] for row in rows] == [(kind, noise.description) for kind, noise in NOISES.items()]
    examples = [row[2] for row in rows]
    assert len(set(examples)) == len(NOISES)
    assert "those people are idiots" not in examples
    assert not any(unicodedata.category(character) == "Cf" for example in examples for character in example)
    assert any("[U+" in example for example in examples)


def test_a_kind_that_this_version_does_not_know_is_shown_without_an_example():
    section = robustness_section(with_noise(odd=(drop("<new kind>", 0.1),)))
    assert not any("to a sentence" in block.title for block in section.blocks if isinstance(block, Fold))
    assert "<new kind>" not in to_html(Document("t", "l", (section,)))


def test_without_noise_there_is_no_section_and_no_figure():
    assert robustness_section(with_noise()).blocks == ()
    assert plots.noise_drops(with_noise()) is None


@pytest.mark.parametrize("methods", [("odd",), METHODS, (*METHODS, *(f"own-{i}" for i in range(6)))])
def test_the_figure_names_every_kind_and_method_and_is_the_same_each_time(methods):
    found = comparison(methods)
    drawn = plots.noise_drops(found)
    assert all(f">{name}<" in drawn for name in (*NOISES, *methods))
    assert drawn == plots.noise_drops(found)
    (block,) = (one for one in robustness_section(found).blocks if isinstance(one, FigureBlock))
    assert block.svg == drawn
    assert all(name in block.alternative for name in methods)
