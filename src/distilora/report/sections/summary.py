"""What comes first: the model to ship, and what was found, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from distilora.report.blocks import Bullets, Card, Section
from distilora.report.findings import findings
from distilora.report.records import Comparison, Considered
from distilora.report.sections.cells import shown_interval, shown_mean
from distilora.report.sections.recommendation import choice_sentence, recommended
from distilora.report.wording import number, printable


def summary_section(comparison: Comparison) -> Section:
    """Return the recommended method with its main figures, and every finding that the card does not tell."""
    card = _card(comparison)
    told = {one.text for one in card}
    sentences = tuple(sentence for sentence in findings(comparison) if sentence not in told)
    return Section("findings", "What was found", (*card, Bullets(sentences)))


def _card(comparison: Comparison) -> tuple[Card, ...]:
    found = comparison.recommendation
    if found is None:
        return ()
    chosen = recommended(found)
    title = printable(chosen.method) if chosen else "none"
    facts = tuple(_facts(comparison, chosen)) if chosen else ()
    return (Card("Recommended", title, choice_sentence(comparison, found), facts),)


def _facts(comparison: Comparison, chosen: Considered) -> Iterator[tuple[str, str]]:
    row = comparison.row(chosen.method)
    if row and row.macro_f1:
        interval = f" ({shown_interval(row.macro_f1)})" if row.macro_f1.interval else ""
        yield "macro-F1 on test rows", f"{shown_mean(row.macro_f1)}{interval}"
    if chosen.latency_ms is not None:
        yield "one text of 64 tokens", f"{number(chosen.latency_ms, 1)} ms"
    if chosen.size_mb is not None:
        yield "size", f"{number(chosen.size_mb, 1)} MB"
    if chosen.recall is not None:
        yield "recall on validation rows", number(chosen.recall)
