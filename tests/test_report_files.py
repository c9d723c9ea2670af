import csv
import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from distilora.errors import MissingExtraError
from distilora.report import compare_runs, plots, write_report
from distilora.report.files import draw_figures
from report_cases import run, usual_runs

HOSTILE = (
    "<script>alert('x')</script>",
    'a|b $x$ "q" & url(#z)',
    "=_x\x00\u202e 仇恨 https://evil.example/x.js [l](u)",
)
VOID_TAGS = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Reads a page and objects to a tag that is not closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words, self.ids = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        self.ids.extend(value for name, value in attrs if name == "id")

    def handle_endtag(self, tag):
        assert self.open, f"closed but never opened: {tag}"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    write_report(usual_runs(seeds=2), folder)
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    runs = usual_runs(names=HOSTILE)
    runs += [run("<img src=x onerror=alert(1)>", names=HOSTILE), run("../=cmd", names=HOSTILE, void="<b>@</b>\n|x")]
    write_report(runs, folder)
    return folder


def test_the_report_holds_every_section_table_and_figure(usual):
    page = Page((usual / "report.html").read_text(encoding="utf-8"))
    sections = [
        "findings",
        "table",
        "scores",
        "differences",
        "classes",
        "confusion",
        "calibration",
        "curves",
        "size",
        "method",
        "void",
    ]
    assert [name for name in page.ids if name in sections] == sections
    assert page.tags.count("svg") == len(list((usual / "figures").glob("*.svg"))) == 6 + 3
    assert page.tags.count("caption") == page.tags.count("table") == 8
    scopes = [value for name, value in page.attributes if name == "scope"]
    assert page.tags.count("th") == len(scopes)
    assert set(scopes) == {"col", "row"}


def test_markdown_tells_the_same_numbers_as_html(usual):
    text = (usual / "report.md").read_text(encoding="utf-8")
    words = " ".join(Page((usual / "report.html").read_text(encoding="utf-8")).words)
    row = next(line for line in text.splitlines() if line.startswith("| odd"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 15
    assert all(cell in words for cell in cells)
    for name in re.findall(r"\(figures/(.+?)\)", text):
        assert (usual / "figures" / name).is_file()


def test_a_void_method_is_told_with_its_reason_and_without_a_number(usual):
    text = (usual / "report.md").read_text(encoding="utf-8")
    scores = next(line for line in text.splitlines() if line.startswith("| even | — | void |"))
    assert scores.count("—") >= 8
    assert "| even | 0 | constant predictions: always hate speech |" in text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(hostile):
    page = Page((hostile / "report.html").read_text(encoding="utf-8"))
    assert not {"script", "img", "link", "iframe", "object", "image", "b"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on") or name in {"src", "srcset", "action"}}
    links = [value for name, value in page.attributes if name.endswith("href")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert {link[1:] for link in links} <= set(page.ids)
    styles = " ".join(value or "" for name, value in page.attributes if name in {"style", "clip-path"})
    assert all(inner.startswith("#") for inner in re.findall(r"url\((.*?)\)", styles))


def test_no_two_parts_of_the_page_share_an_id(hostile):
    ids = Page((hostile / "report.html").read_text(encoding="utf-8")).ids
    assert len(ids) == len(set(ids))


def test_hostile_names_are_shown_as_they_are_written(hostile):
    words = " ".join(Page((hostile / "report.html").read_text(encoding="utf-8")).words)
    assert HOSTILE[0] in words
    assert HOSTILE[1] in words
    assert "<img src=x onerror=alert(1)>" in words
    assert "\x00" not in words
    assert "\u202e" not in words
    text = (hostile / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text.replace("\\<", "")
    assert "\\[l\\](u)" in text


def test_every_figure_is_well_formed_xml_inside_its_folder(hostile):
    files = list(hostile.rglob("*.svg"))
    assert files
    assert {file.parent for file in files} == {hostile / "figures"}
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert ET.fromstring(text).tag.endswith("svg")  # noqa: S314 - written above
        assert "<script" not in text


def test_results_csv_holds_full_numbers_and_no_formula(hostile):
    runs = {record.result.method: record for record in usual_runs(names=HOSTILE)}
    with (hostile / "results.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream)}
    test = runs["odd"].result.test
    assert float(rows["odd"]["macro_f1"]) == test.macro_f1
    assert float(rows["odd"][f"recall: {HOSTILE[1]}"]) == test.per_class[HOSTILE[1]].recall
    assert rows["../=cmd"]["void"] == "<b>@</b>\n|x"
    assert rows["../=cmd"]["macro_f1"] == rows["majority"]["size_bytes"] == ""
    assert rows["majority"]["constant"] == HOSTILE[0]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows.values() for cell in row.values())


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_text_that_a_spreadsheet_would_run_is_quoted(tmp_path, start):
    record = run("odd", machine=f"{start}1+1", history=False, void="loss not finite")
    write_report([record], tmp_path)
    assert f"'{start}1+1" in (tmp_path / "results.csv").read_text(encoding="utf-8")


def test_the_same_runs_give_the_same_bytes_in_any_order(usual, tmp_path):
    write_report(usual_runs(seeds=2)[::-1], tmp_path)
    files = sorted(file.relative_to(usual) for file in usual.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file())
    assert all((usual / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


def test_curves_of_a_method_that_is_gone_are_removed(tmp_path):
    write_report([run("teacher"), run("odd")], tmp_path)
    assert (tmp_path / "figures" / "curves-odd.svg").is_file()
    write_report([run("teacher")], tmp_path)
    assert not (tmp_path / "figures" / "curves-odd.svg").exists()


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_figures_are_drawn_for_any_number_of_classes(classes):
    names = tuple(f"a class with a long name, number {index}" for index in range(classes))
    runs = [run("teacher", names=names), run("tfidf", good=1.0, names=names)]
    figures = draw_figures(compare_runs(runs), runs, curves={"teacher": "curves-teacher"})
    assert set(figures) == {"scores", "classes", "confusion", "calibration", "size", "curves-teacher"}


def test_names_in_score_against_size_never_cover_each_other():
    methods = ["teacher", "odd", "even", "first", "last", "spread", "odd-t4", "odd-cosine", "lora", "lora-qv"]
    svg = plots.score_against_size(
        compare_runs([run(name, good=2.0 + index / 50) for index, name in enumerate(methods)])
    )
    places = {}
    for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314 - written above
        if text.text in methods:
            places[text.text] = (float(text.get("x")), float(text.get("y")))
    assert len(places) == len(methods)
    wide = 6.0  # About a letter of 9 points, in points.
    for name, (x, y) in places.items():
        for other, (x2, y2) in places.items():
            beside = x + wide * len(name) <= x2 or x2 + wide * len(other) <= x
            assert name == other or beside or abs(y - y2) >= 8


def test_a_figure_is_also_saved_as_png(tmp_path):
    plots.score_bars(compare_runs(usual_runs()), png=tmp_path / "scores.png")
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="pip install 'distilora\\[train\\]'"):
        plots.score_bars(compare_runs(usual_runs()))
