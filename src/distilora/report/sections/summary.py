"""What comes first: the model to ship, and what was found, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from distilora.report.blocks import Answers, Bullets, Card, Fold, Section
from distilora.report.comparing.costs import TIMED_TOKENS
from distilora.report.findings import answered
from distilora.report.findings.cautions import limits_of_evidence
from distilora.report.records import Comparison, Considered
from distilora.report.sections.cells import shown_interval, shown_mean
from distilora.report.sections.recommendation import choice_sentence
from distilora.report.wording import number, printable

_WORDS = (
    "Macro-F1 is the mean of the F1 of each class. A class has a high F1 where most of its comments are found and "
    "most of what is taken for it belongs to it. 1 is best, and a point is a hundredth.",
    "A 95 % interval says how far a number may be off because only some comments were tested: of 100 such intervals "
    "about 95 hold the true value.",
    "p is how likely so large a difference would be by chance in the test rows if two methods were equally good. Only "
    "where it is small is a difference found.",
    "Validation comments choose the model and its threshold; test comments are those that nothing was chosen on.",
)


def summary_section(comparison: Comparison) -> Section:
    """Return the recommended method with its main figures, what was found, and how to read it."""
    answers = Answers(tuple((one.question, one.text) for one in answered(comparison)))
    return Section("findings", "What was found", (*_card(comparison), answers, *_how_to_read(comparison)))


def _how_to_read(comparison: Comparison) -> tuple[Fold, ...]:
    if not comparison.candidates:
        return ()
    return (Fold("How to read this", (Bullets((*_WORDS, *limits_of_evidence(comparison))),)),)


def _card(comparison: Comparison) -> tuple[Card, ...]:
    found = comparison.recommendation
    if found is None:
        return ()
    chosen = found.chosen
    title = printable(chosen.method) if chosen else "none"
    facts = tuple(_facts(comparison, chosen)) if chosen else ()
    return (Card("Recommended", title, choice_sentence(comparison, found), facts),)


def _facts(comparison: Comparison, chosen: Considered) -> Iterator[tuple[str, str]]:
    row = comparison.row(chosen.method)
    if row and row.macro_f1:
        interval = f" ({shown_interval(row.macro_f1)})" if row.macro_f1.interval else ""
        yield "macro-F1 on test rows", f"{shown_mean(row.macro_f1)}{interval}"
    if chosen.latency_ms is not None:
        yield f"one text of {TIMED_TOKENS} tokens", f"{number(chosen.latency_ms, 1)} ms"
    if chosen.size_mb is not None:
        yield "size", f"{number(chosen.size_mb, 1)} MB"
    if chosen.recall is not None:
        yield "recall on validation rows", number(chosen.recall)
