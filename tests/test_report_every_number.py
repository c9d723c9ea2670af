"""Whether every number in a table of the report and of its pages stands in comparison.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from adapting_cases import balanced, event, grown, joint, matched, with_events
from distilora.report import compare_runs, write_report
from distilora.report.records import Comparison
from distilora.runs import RunRecord
from report_cases import run, usual_evidence, usual_runs

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
DECIMAL = re.compile(r"\d+(?:,\d{3})*\.\d+")
NOT_RESULTS = ("Settings of the run of seed", "“those people are idiots” with each kind of noise")
"""Tables of what was put in: a run's config.toml, and the example sentence."""


@dataclass
class HtmlTable:
    """The text of one table."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)


class Tables(HTMLParser):
    """All tables of a page, as a reader sees their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[HtmlTable] = []
        self._inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.found.append(HtmlTable())
        elif tag == "tr":
            self.found[-1].rows.append([])
        elif tag in {"th", "td"}:
            self.found[-1].rows[-1].append("")
            self._inside = "cell"
        elif tag == "caption":
            self._inside = "caption"

    def handle_endtag(self, tag: str) -> None:
        if tag in {"th", "td", "caption"}:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "cell":
            self.found[-1].rows[-1][-1] += data
        elif self._inside == "caption":
            self.found[-1].caption += data


def every_kind_of_run() -> list[RunRecord]:
    """Return runs of two seeds, a method of which one seed is void, and one of each way to adapt in training."""
    runs = [*usual_runs(seeds=2), run("even-lora", good=1.7), run("even-lora", seed=1, void="loss is not finite")]
    runs += [run("searched", seed=seed, layers=layers) for seed, layers in enumerate([(1, 4, 6), (1, 2, 6)])]
    adapting = {"teacher": balanced, "odd": matched, "even-lora": joint, "lora": grown}
    runs = [
        replace(one, history=make(one.result.seed).history) if (make := adapting.get(one.result.method)) else one
        for one in runs
    ]
    return [with_events(one, event("spike", message="loss 4.21 is 8 times the usual")) for one in runs]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an experiment with all evidence."""
    folder, runs = tmp_path_factory.mktemp("numbers"), every_kind_of_run()
    evidence = usual_evidence(runs)
    comparison = compare_runs(runs, evidence)
    write_report(comparison, runs, folder, evidence=evidence)
    assert Comparison.model_validate_json((folder / "comparison.json").read_bytes()) == comparison
    return folder


def known_to(folder: Path) -> Any:
    """Return what stands in the comparison.json of an experiment."""
    return json.loads((folder / "comparison.json").read_text(encoding="utf-8"))


def tables_of(folder: Path) -> dict[str | None, list[HtmlTable]]:
    """Return the tables of results on each method's page, by method, and under nothing those of the report of all."""
    pages: dict[str | None, Path] = {path.parent.name: path for path in folder.glob("*/report.html")}
    pages[None] = folder / "report.html"
    assert len(pages) == 7  # of all; teacher, odd, lora, even-lora, searched and the void even
    found = {owner: Tables(path.read_text(encoding="utf-8")).found for owner, path in pages.items()}
    return {
        owner: [table for table in tables if not table.caption.startswith(NOT_RESULTS)]
        for owner, tables in found.items()
    }


def forms(part: Any) -> set[str]:
    """Return every number below a part of a JSON document in the forms in which a report may show it."""
    found: set[str] = set()
    for value in leaves(part):
        if isinstance(value, str):
            found.update(NUMBER.findall(value))
        else:
            found |= forms_of(abs(value))
    return found


def leaves(part: Any) -> Iterator[float | str]:
    """Yield all numbers and texts; of a list how long it is too, and of disagreements their share of the rows."""
    if isinstance(part, dict):
        yield from (text for text in part if isinstance(text, str))  # names of classes and tests hold digits
        if {"count", "rows"} <= part.keys() and part["rows"]:
            yield part["count"] / part["rows"]
        part = list(part.values())
    elif isinstance(part, list):
        yield len(part)
    if isinstance(part, list):
        for inner in part:
            yield from leaves(inner)
    elif isinstance(part, str | int | float) and not isinstance(part, bool):
        yield part


def forms_of(size: float) -> set[str]:
    shown = {f"{size:,.0f}", f"{size:.0f}", f"{size:.1f}", f"{size:.2f}", f"{size:.3f}"}
    shown |= {f"{value:.1f}" for value in (100 * size, size / 1e6, size / 60)}  # points and percent; MB; minutes
    return shown | ({"0.001"} if size < 0.001 else set())


def numbers(cells: list[str]) -> list[str]:
    return NUMBER.findall(" ".join(cells).replace("95 %", "").replace("95 of 100", ""))


def known_of(comparison: dict[str, Any], method: str | None) -> set[str]:
    """Return what a line on one method may tell: nothing that belongs to another method alone."""
    if method is None:
        return forms(comparison)
    shared = {key: value for key, value in comparison.items() if key not in {"methods", "pairs", "label_errors"}}
    own = next(row for row in comparison["methods"] if row["method"] == method)
    pairs = [pair for pair in comparison["pairs"] if method in {pair["first"], pair["second"]}]
    return forms([shared, own, pairs])


def test_every_number_in_every_table_of_the_report_stands_in_comparison_json(written: Path) -> None:
    comparison = known_to(written)
    methods = {row["method"] for row in comparison["methods"]}
    known = {method: known_of(comparison, method) for method in (None, *methods)}
    told = 0
    for owner, tables in tables_of(written).items():
        for table in tables:
            for first, *cells in table.rows:
                name = owner or (first.strip() if first.strip() in methods else None)
                for shown in numbers(cells if name else [first, *cells]):
                    assert shown in known[name], f"page of {owner}, {table.caption[:60]}, {first}: {shown}"
                    told += 1
    assert told > 1500


def halved(part: Any) -> Any:
    """Return a part of a JSON document in which every number that may have decimals is half as large."""
    if isinstance(part, dict):
        return {key: halved(value) for key, value in part.items()}
    if isinstance(part, list):
        return [halved(value) for value in part]
    return part / 2 if isinstance(part, float) else part


def without_decimals(part: Any) -> Any:
    """Return a part of a JSON document without any number that may have decimals."""
    if isinstance(part, dict):
        return {key: without_decimals(value) for key, value in part.items() if not isinstance(value, float)}
    if isinstance(part, list):
        return [without_decimals(value) for value in part if not isinstance(value, float)]
    return part


def test_every_decimal_in_a_table_changes_with_comparison_json_and_so_comes_from_there(
    written: Path, tmp_path: Path
) -> None:
    known = known_to(written)
    less = Comparison.model_validate_json(json.dumps(halved(known)))
    write_report(less, every_kind_of_run(), tmp_path)
    still = forms(without_decimals(known))  # made of whole numbers, or part of a text
    pages, told = tables_of(tmp_path), 0
    for owner, tables in tables_of(written).items():
        for before, after in zip(tables, pages[owner], strict=True):
            for row, other in zip(before.rows, after.rows, strict=True):
                for cell, half in zip(row, other, strict=True):
                    # An end of an interval may become "just above 0": then its cell has one number fewer.
                    for old, new in zip(DECIMAL.findall(cell), DECIMAL.findall(half), strict=False):
                        # Of one or two units in the last place the half may be rounded to as many.
                        if old not in still and int(old.replace(",", "").replace(".", "")) > 2:
                            assert new != old, f"page of {owner}, {before.caption[:60]}, {row[0]}: {old}"
                            told += 1
    assert told > 1000


def test_a_number_of_another_method_would_be_noticed(written: Path) -> None:
    comparison = known_to(written)
    known = {method: known_of(comparison, method) for method in ("odd", "lora")}
    (losses,) = (
        {f"{one['log_loss']:.3f}" for one in row["by_seed"]} for row in comparison["methods"] if row["method"] == "lora"
    )
    assert losses <= known["lora"]
    assert not losses <= known["odd"]


def test_the_scores_of_each_seed_are_those_of_its_result() -> None:
    runs = usual_runs(seeds=2)
    row = compare_runs(runs).row("odd")
    assert row is not None
    results = [one.result for one in runs if one.result.method == "odd"]
    for found, result, before, after in zip(row.by_seed, results, row.calibration, row.calibrated, strict=True):
        assert result.test is not None
        assert (found.seed, found.macro_f1, found.log_loss) == (result.seed, result.test.macro_f1, result.test.log_loss)
        assert (found.training_seconds, found.best_epoch) == (result.training_seconds, result.best_epoch)
        assert (found.brier_score, found.temperature) == (before.brier_score, after.temperature)
    assert row.macro_f1.mean == pytest.approx(sum(one.macro_f1 for one in row.by_seed) / 2)
