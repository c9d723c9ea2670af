"""Whether any two methods differ."""

from __future__ import annotations

from distilora.evaluation.significance import EXACT_BELOW
from distilora.report import plots
from distilora.report.blocks import Block, Cell, Fold, Paragraph, Section, Table, figure
from distilora.report.foreground import is_crowded
from distilora.report.records import LEVEL, Comparison, Difference
from distilora.report.sections.cells import bare_p, method_pages, shown_p, shown_verdict
from distilora.report.wording import MISSING, count, counted, listed, p_words, points, points_span, printable


def differences_section(comparison: Comparison) -> Section:
    """Return the matrix of all tested pairs, and how far each method is from the teacher; empty below two methods."""
    gaps = ", ".join(
        f"{printable(row.method)} {points(row.to_teacher.value)}" for row in comparison.candidates if row.to_teacher
    )
    drawn = figure(
        "differences",
        plots.teacher_differences(comparison),
        alternative=f"Macro-F1 less the teacher's, in points: {gaps}.",
        caption="Macro-F1 less the teacher's, with paired 95 % intervals. A hollow point: no difference was found once "
        "p is corrected for all pairs.",
    )
    blocks = (*_pair_table(comparison), *drawn, *_mcnemar(comparison))
    return Section("differences", "Do they really differ?", blocks)


def _pair_table(comparison: Comparison) -> tuple[Block, ...]:
    family = comparison.family
    if not comparison.pairs:
        return ()
    if is_crowded(comparison):
        return _against_best(comparison)
    rows = tuple(
        (
            printable(method),
            *(_pair(comparison.difference(method, other)) if other in family[i + 1 :] else "" for other in family[1:]),
        )
        for i, method in enumerate(family[:-1])
    )
    table = Table(
        "Macro-F1 of the method on the left less that of the method above, in points (95 % interval)",
        ("method", *(f"less {printable(other)}" for other in family[1:])),
        rows,
        numeric=False,
        sortable=False,
    )
    return table, Paragraph(_pair_note(comparison))


def _against_best(comparison: Comparison) -> tuple[Block, ...]:
    """Return each method against the best, of so many methods that a table of all pairs could not be read."""
    best = comparison.best or comparison.family[0]
    found = [(name, comparison.difference(name, best)) for name in comparison.family if name != best]
    table = Table(
        f"Macro-F1 of each method less that of {printable(best)}, the best on the test rows, in points",
        ("method", "points", "95 % interval", "p, corrected", "what was found"),
        tuple(_line(name, difference) for name, difference in found if difference is not None),
        links=method_pages(comparison),
    )
    rest = (
        "The page of each method has its differences to all others, and comparison.json every pair, with McNemar's "
        "test of each seed."
    )
    return table, Paragraph(f"{_pair_note(comparison)} {rest}")


def _line(method: str, difference: Difference) -> tuple[Cell, ...]:
    interval = points_span(difference.interval) if difference.interval else MISSING
    shown = points(difference.value), interval, shown_p(difference), shown_verdict(difference)
    return printable(method), *shown


def _pair(difference: Difference | None) -> str:
    if difference is None or difference.interval is None or difference.p_holm is None:
        return MISSING
    measured = f"{points(difference.value)} ({points_span(difference.interval)}), {p_words(difference.p_holm)}"
    return f"{shown_verdict(difference)}: {measured}"


def _pair_note(comparison: Comparison) -> str:
    return (
        f"Paired bootstrap on the same test rows, the seeds of each method averaged. p is corrected (Holm) for the "
        f"{counted(len(comparison.pairs), 'pair')} of {_family(comparison)}, one family of tests; the majority "
        f"class is left out. Two methods differ where p is below {LEVEL}. Intervals are those of each pair by itself, "
        "so one may leave out 0 where no difference was found. A test that finds none does not show that two methods "
        "are equal."
    )


def _family(comparison: Comparison) -> str:
    return f"all {len(comparison.family)} methods" if is_crowded(comparison) else listed(comparison.family)


def _mcnemar(comparison: Comparison) -> tuple[Fold, ...]:
    """Return McNemar's test of each two methods and seed, out of sight; of many methods, against the best alone.

    Nothing where no two share a seed.
    """
    wanted = [
        pair for pair in comparison.pairs if not is_crowded(comparison) or comparison.best in (pair.first, pair.second)
    ]
    rows = tuple(
        (
            f"{printable(pair.first)}, {printable(pair.second)}",
            str(one.seed),
            count(one.only_first),
            count(one.only_second),
            "exact" if one.exact else "chi-square",
            bare_p(one.p),
            bare_p(one.p_holm),
        )
        for pair in wanted
        for one in pair.mcnemar
    )
    if not rows:
        return ()
    columns = ("methods", "seed", "right: first alone", "right: second alone", "test", "p", "p, corrected")
    note = (
        "It asks whether two models are right equally often, so it is about accuracy, not macro-F1, and only rows on "
        f"which one of them alone is right have a say: below {EXACT_BELOW} of those it is exact, else by chi-square "
        "with Edwards' correction. p is corrected (Holm) for all pairs of the seed."
    )
    table = Table("McNemar's test on the test rows, two models of the same seed at a time", columns, rows)
    return (Fold("McNemar's test, seed by seed", (table, Paragraph(note))),)
