"""Inspecting a source, whatever is wrong with it, and the picture of its lengths."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from distilora.config import DataSettings
from distilora.data.inspection import Inspection, inspect_comments
from distilora.data.plots import plot_lengths
from distilora.errors import DataError, MissingExtraError


@pytest.fixture
def messy(tmp_path: Path) -> DataSettings:
    path = tmp_path / "messy.csv"
    rows = ["one two,x", "ONE  two,y", ",x", "a b c d,x", "a b c d,x", "one two,x", "five,y,z"]
    path.write_text("\n".join(["text,label", *rows]))
    return DataSettings(source=str(path), positive=("y",))


def characters(texts: object) -> list[int]:
    return [len(text) for text in texts]  # type: ignore[attr-defined]


def test_everything_of_a_messy_source_is_counted(messy: DataSettings) -> None:
    seen = inspect_comments(messy, encode=characters, max_length=7)
    assert (seen.rows, seen.usable_rows) == (7, 5)
    assert [(one.name, one.rows, one.share, one.positive) for one in seen.classes] == [
        ("x", 4, 0.8, False),
        ("y", 1, 0.2, True),
    ]
    assert (seen.duplicate_rows, seen.duplicate_groups) == (3, 2)
    assert [(conflict.rows, conflict.labels) for conflict in seen.conflicts] == [((1, 2, 6), ("x", "y", "x"))]
    assert [fault.row for fault in seen.faults] == [None, 3, 7]
    assert seen.faults[0].problem.startswith('class "x" has 2 distinct texts, a split needs 10')
    assert seen.truncated_share == 0.2  # "ONE  two" alone has more than 7 characters


def test_lengths_agree_with_numpy(messy: DataSettings) -> None:
    seen = inspect_comments(messy, encode=characters)
    words = [2, 2, 4, 4, 2]
    assert seen.words is not None
    assert seen.words.model_dump() == {
        "unit": "words",
        "mean": np.mean(words),
        "median": np.median(words),
        "percentile_95": np.percentile(words, 95),
        "longest": 4,
    }
    assert seen.tokens is not None
    assert seen.tokens.longest == 8


def test_an_inspection_is_read_back_from_its_json(messy: DataSettings) -> None:
    seen = inspect_comments(messy)
    assert seen.tokens is None
    assert seen.truncated_share is None
    assert Inspection.model_validate_json(seen.model_dump_json()) == seen


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("text,label\na,x\nb,x\n", 'all 2 comments are "x"; a classifier needs at least two classes'),
        ("text,label\n,x\n", "no row can be used"),
    ],
)
def test_a_source_that_cannot_be_trained_on_is_inspected_all_the_same(
    content: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "comments.csv"
    path.write_text(content)
    seen = inspect_comments(DataSettings(source=str(path)), encode=characters)
    assert seen.faults[0].problem == problem


def test_rows_that_a_later_part_repeats_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "comments.csv"
    path.write_text("text,label,split\na,x,train\nb,y,train\nA,x,test\nc,y,validation\n")
    seen = inspect_comments(DataSettings(source=str(path)))
    assert seen.parts == {"train": 2, "validation": 1, "test": 1}
    assert seen.repeated_across_parts == 1


def test_the_histogram_holds_every_row_once(tmp_path: Path) -> None:
    path = tmp_path / "comments.csv"
    texts = [("w " * length, "xy"[length % 2]) for length in (*range(1, 200), 5000)]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in texts))
    histogram = inspect_comments(DataSettings(source=str(path))).histogram
    assert histogram is not None
    assert {name: sum(counts) for name, counts in histogram.counts.items()} == {"x": 100, "y": 100}
    assert len(histogram.edges) <= 43


@pytest.mark.parametrize(("suffix", "beginning"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_the_same_data_draw_the_same_picture(
    suffix: str, beginning: bytes, messy: DataSettings, tmp_path: Path
) -> None:
    seen = inspect_comments(messy, encode=characters, max_length=10)
    pictures = [tmp_path / f"{name}.{suffix}" for name in ("first", "second")]
    for picture in pictures:
        plot_lengths(seen, picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert pictures[0].read_bytes().startswith(beginning)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"first.{suffix}", "messy.csv", f"second.{suffix}"]


def test_a_plot_says_what_it_cannot_do(messy: DataSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = inspect_comments(messy)
    with pytest.raises(DataError, match=r"must end in \.svg or \.png"):
        plot_lengths(seen, tmp_path / "plot.gif")
    with pytest.raises(DataError, match="no lengths to plot"):
        plot_lengths(seen.model_copy(update={"histogram": None}), tmp_path / "plot.svg")
    with pytest.raises(DataError, match="cannot be written"):
        plot_lengths(seen, tmp_path / "messy.csv" / "plot.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="matplotlib is not installed"):
        plot_lengths(seen, tmp_path / "plot.svg")
