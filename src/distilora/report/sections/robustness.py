"""What typed noise costs each method."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from distilora.evaluation.robustness.drops import NoiseDrop
from distilora.evaluation.robustness.noise import NOISES, noisy
from distilora.report import plots
from distilora.report.blocks import Block, Bullets, Fold, Paragraph, Section, Table, cell_text, figure
from distilora.report.foreground import foreground, foreground_note, is_crowded
from distilora.report.records import Comparison, MethodRow
from distilora.report.sections.cells import shown_change
from distilora.report.wording import MISSING, counted, either, number, points, points_span, printable

_EXAMPLE = "those people are idiots"


def robustness_section(comparison: Comparison) -> Section:
    """Return how much macro-F1 each kind of noise takes from each method; empty where none was asked."""
    rows = [row for row in comparison.methods if row.noise]
    return Section("robustness", "What does noise cost?", _blocks(comparison, rows) if rows else ())


def _blocks(comparison: Comparison, rows: Sequence[MethodRow]) -> tuple[Block, ...]:
    kinds = tuple(dict.fromkeys(drop.kind for row in rows for drop in row.noise))
    in_front = foreground(comparison)
    told = [row for row in in_front.methods if row.noise]
    drawn = figure(
        "noise",
        plots.noise_drops(in_front),
        alternative=f"Points of macro-F1 lost under each kind of noise, by method. {_alternative(told)}",
        caption="Macro-F1 without noise less that with it, with 95 % intervals over test rows. A hollow point: the "
        f"interval holds 0.{foreground_note(comparison, where='the table has all')}",
    )
    return (
        Paragraph(_note(comparison)),
        Bullets(tuple(_costliest(row) for row in told)),
        *drawn,
        _turned(_drop_table(rows, kinds), comparison),
        *_examples([kind for kind in kinds if kind in NOISES]),
        Fold("Macro-F1 with each kind of noise", (_turned(_score_table(rows, kinds), comparison),)),
    )


def _note(comparison: Comparison) -> str:
    asked = counted(comparison.noise_rows, "test row") if comparison.noise_rows is not None else "the same test rows"
    return (
        f"People disguise words, and mistype them. Every method answered {asked} again, once with each kind of noise "
        "in half of the words that it can change; capital letters are in all. A drop is macro-F1 without noise less "
        "that with it, in points, on the same rows with the seeds averaged. Intervals are of each drop by itself, not "
        "corrected for their number, and do not tell whether one method loses more than another."
    )


def _costliest(row: MethodRow) -> str:
    """Return which kind of noise costs a method most, among those that are shown to cost it anything."""
    method = printable(row.method)
    lost = sorted((drop for drop in row.noise if drop.is_shown and drop.drop > 0), key=lambda drop: -drop.drop)
    if not lost:
        return f"{method}: no drop was found under any of {counted(len(row.noise), 'kind')} of noise."
    first = lost[0]
    without = [drop.kind for drop in row.noise if not drop.is_shown]
    unhurt = f" No change was found under {either(without)}." if without else ""
    scores = f"from {number(first.clean_macro_f1)} to {number(first.noisy_macro_f1)}"
    return (
        f"{method} loses most to {printable(first.kind)} noise: {points(first.drop, signed=False)} points of macro-F1 "
        f"(95 % interval {points_span(first.interval)}), {scores}.{unhurt}"
    )


def _alternative(rows: Sequence[MethodRow]) -> str:
    parts = (
        f"{printable(row.method)}: " + ", ".join(f"{printable(drop.kind)} {points(drop.drop)}" for drop in row.noise)
        for row in rows
    )
    return "; ".join(parts) + "."


def _drop_table(rows: Sequence[MethodRow], kinds: Sequence[str]) -> Table:
    return Table(
        "Points of macro-F1 lost, + is worse (95 % interval); *: the interval leaves out 0",
        ("noise", *(printable(row.method) for row in rows)),
        tuple((printable(kind), *(_drop(_of_kind(row, kind)) for row in rows)) for kind in kinds),
    )


def _turned(table: Table, comparison: Comparison) -> Table:
    """Return a table of one column a method with one line a method instead, where there are many of them."""
    if not is_crowded(comparison):
        return table
    _, *methods = table.columns
    kinds = tuple(cell_text(row[0]) for row in table.rows)
    rows = tuple((method, *(row[place] for row in table.rows)) for place, method in enumerate(methods, start=1))
    return replace(table, columns=("method", *kinds), rows=rows)


def _drop(drop: NoiseDrop | None) -> str:
    if drop is None:
        return MISSING
    return shown_change(drop.drop, drop.interval, is_shown=drop.is_shown)


def _score_table(rows: Sequence[MethodRow], kinds: Sequence[str]) -> Table:
    """Return macro-F1 itself, the first line without noise."""
    clean = ("none", *(number(row.noise[0].clean_macro_f1) for row in rows))
    return Table(
        "Macro-F1 with each kind of noise; without any it can differ from that of all test rows",
        ("noise", *(printable(row.method) for row in rows)),
        (clean, *((printable(kind), *(_noisy(_of_kind(row, kind)) for row in rows)) for kind in kinds)),
    )


def _noisy(drop: NoiseDrop | None) -> str:
    return number(drop.noisy_macro_f1 if drop else None)


def _of_kind(row: MethodRow, kind: str) -> NoiseDrop | None:
    return next((drop for drop in row.noise if drop.kind == kind), None)


def _examples(kinds: Sequence[str]) -> tuple[Fold, ...]:
    """Return what each kind of noise does to one sentence."""
    rows = tuple((kind, NOISES[kind].description, _seen(noisy([_EXAMPLE], kind)[0])) for kind in kinds)
    table = Table(f"“{_EXAMPLE}” with each kind of noise", ("noise", "what it does", "example"), rows, numeric=False)
    return (Fold("What each kind of noise does to a sentence", (table,)),) if rows else ()


def _seen(text: str) -> str:
    """Return text in which characters that nobody sees are named."""
    return "".join(f"[U+{ord(c):04X}]" if unicodedata.category(c) == "Cf" else c for c in text)
