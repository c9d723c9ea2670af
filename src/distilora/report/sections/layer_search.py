"""Which layers were searched for students: what was chosen, beside odd and even, and the best of what was looked at."""

from __future__ import annotations

from collections.abc import Iterator

from distilora.models.search_records import LayerSet
from distilora.report.blocks import Block, Bullets, Cell, Paragraph, Section, Table
from distilora.report.records import Comparison, MethodRow
from distilora.report.run_records import SeedSearch
from distilora.report.sections.cells import method_pages
from distilora.report.wording import MISSING, count, duration, listed, number, p_words, points, printable

_BEST = 5
"""Sets of each search that are shown."""


def layer_search_section(comparison: Comparison) -> Section:
    """Return which layers each seed's search chose, their scores beside those of odd and even; empty without any."""
    rows = [row for row in comparison.methods if row.layer_searches]
    blocks: list[Block] = []
    if rows:
        told = Bullets(tuple(sentence for row in rows for sentence in _sentences(comparison, row)))
        blocks += [told, _chosen(comparison, rows), *(_best(row) for row in rows), Paragraph(_NOTE)]
    return Section("layer-search", "Which layers were searched?", tuple(blocks))


def _sentences(comparison: Comparison, row: MethodRow) -> Iterator[str]:
    yield f"{printable(row.method)}: {_chosen_words(row)}."
    tested = comparison.difference(row.method, "odd")
    if tested is None or tested.p_holm is None:
        yield f"Whether {printable(row.method)} is better than odd, only its scores on test rows could tell."
        return
    verdict = "they differ" if tested.is_shown else "no difference was found"
    yield (
        f"On test rows {printable(row.method)} less odd is {points(tested.value)} points of macro-F1: {verdict} "
        f"({p_words(tested.p_holm)})."
    )


def _chosen_words(row: MethodRow) -> str:
    """Return the chosen layers, with the seeds that they were chosen in."""
    seeds: dict[tuple[int, ...], list[str]] = {}
    for one in row.layer_searches:
        seeds.setdefault(one.search.numbers, []).append(str(one.seed))
    told = [
        f"{'layer' if len(numbers) == 1 else 'layers'} {listed([str(layer) for layer in numbers])} "
        f"{'was' if len(numbers) == 1 else 'were'} chosen in {'seed' if len(found) == 1 else 'seeds'} {listed(found)}"
        for numbers, found in seeds.items()
    ]
    return "; ".join(told)


def _chosen(comparison: Comparison, rows: list[MethodRow]) -> Table:
    columns = ("method", "seed", "layers", "their score", "odd's", "even's", "sets looked at", "rows", "time")
    cells = tuple((printable(row.method), *_chosen_cells(one)) for row in rows for one in row.layer_searches)
    caption = "What each search chose: scores on validation rows, at most 1, 1 is best"
    return Table(caption, columns, cells, links=method_pages(comparison))


def _chosen_cells(one: SeedSearch) -> tuple[Cell, ...]:
    search = one.search
    return (
        str(one.seed),
        _layers(search.chosen),
        number(search.chosen.score),
        number(search.odd.score),
        number(search.even.score) if search.even else MISSING,
        count(search.looked_at),
        count(search.rows),
        duration(search.seconds),
    )


def _best(row: MethodRow) -> Table:
    columns = ("layers", "seed", "score", "KL, nats", "alike, CKA", "macro-F1, untrained", "accuracy, untrained")
    cells = tuple(_set_cells(seed, one, name) for seed, one, name in _shown_sets(row))
    caption = f"{printable(row.method)}: the {_BEST} best sets of each search, and odd and even"
    return Table(caption, columns, cells)


def _shown_sets(row: MethodRow) -> Iterator[tuple[int, LayerSet, str]]:
    """Yield the best sets of each search, then odd and even where they are none of these, each with its name."""
    for searched in row.layer_searches:
        search = searched.search
        named = {one.numbers: name for name, one in (("odd", search.odd), ("even", search.even)) if one}
        best = search.best[:_BEST]
        others = [one for one in (search.odd, search.even) if one and one not in best]
        for one in (*best, *others):
            yield searched.seed, one, named.get(one.numbers, "")


def _set_cells(seed: int, one: LayerSet, name: str) -> tuple[Cell, ...]:
    return (
        f"{_layers(one)} ({name})" if name else _layers(one),
        str(seed),
        number(one.score),
        number(one.divergence),
        number(one.redundancy),
        number(one.macro_f1),
        number(one.accuracy),
    )


def _layers(one: LayerSet) -> str:
    return ", ".join(map(str, one.numbers))


_NOTE = (
    "A search tries sets of the teacher's layers without training any. KL: how far what the teacher says with these "
    "layers alone is from what it says with all, 0 is best. Alike: how much two of the layers repeat each other on "
    "average, from 0 to 1. Score: exp(−KL · (1 + alike)). From all layers on, every kept set loses each layer in turn, "
    "and the best are kept. It is no promise: students are trained again after the cut, and then other layers may be "
    "better."
)
