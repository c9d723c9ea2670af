import csv
import json
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from distilora.config import ReportSettings
from distilora.errors import MissingExtraError
from distilora.evaluation.labelled_texts import LabelledTexts
from distilora.report import Evidence, compare_runs, plots, write_report
from distilora.report.blocks import Answers, Card, Document, FigureBlock, Fold, Keyed, Links, Paragraph, Section, Table
from distilora.report.document import build_document
from distilora.report.files import drawn_figures
from distilora.report.html import to_html
from distilora.report.markdown import to_markdown
from distilora.report.tables import to_csv
from report_cases import NAMES, ROWS, run, usual_runs

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


def written(runs, folder, evidence=None):
    """Write the report of runs and return its folder."""
    write_report(compare_runs(runs, evidence), runs, folder, evidence=evidence)
    return folder


def hostile_runs():
    runs = usual_runs(names=HOSTILE)
    return [
        *runs,
        run("<img src=x onerror=alert(1)>", names=HOSTILE),
        run("../=cmd", names=HOSTILE, void="<b>@</b>\n|x"),
    ]


def hostile_evidence(**settings):
    """Return texts that would be markup, formulas or two lines wherever they were not escaped."""
    labels = usual_runs(names=HOSTILE)[0].test_labels
    texts = [f"=1+1 <script>alert({row})</script> | [l](u)\n<b>two</b>" for row in range(ROWS)]
    rows = LabelledTexts(texts, labels, HOSTILE, np.arange(1, ROWS + 1))
    return Evidence(test_rows=rows, settings=ReportSettings(**settings))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return written(usual_runs(seeds=2), tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return written(hostile_runs(), tmp_path_factory.mktemp("hostile"), hostile_evidence())


def pages_of(folder):
    """Return every page of a report, read, by its path."""
    return {
        path.relative_to(folder).as_posix(): Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")
    }


def test_there_is_a_page_for_each_method_that_is_no_baseline(usual):
    assert set(pages_of(usual)) == {
        "report.html",
        *(f"{method}/report.html" for method in ("teacher", "odd", "even", "lora")),
    }


def test_a_method_whose_name_is_no_folders_gets_no_page_and_writes_nothing_elsewhere(hostile):
    assert set(pages_of(hostile)) == {f"{part}report.html" for part in ("", "teacher/", "odd/", "even/", "lora/")}
    assert not (hostile.parent / "=cmd").exists()


def test_the_report_holds_every_section_that_has_something_to_show(usual):
    page = pages_of(usual)["report.html"]
    known = ["findings", "scores", "differences", "costs", "classes", "calibration", "pages", "method", "void"]
    assert [name for name in page.ids if name in known] == known
    assert page.tags.count("caption") == page.tags.count("table") >= 8
    scopes = [value for name, value in page.attributes if name == "scope"]
    assert page.tags.count("th") == len(scopes)
    assert set(scopes) == {"col", "row"}


def test_a_methods_page_holds_its_scores_by_seed_its_classes_and_how_it_was_made(usual):
    page = pages_of(usual)["odd/report.html"]
    words = page.words
    known = ["summary", "scores", "differences", "classes", "calibration", "costs", "curves", "method"]
    assert [name for name in page.ids if name in known] == known
    for record in usual_runs(seeds=2):
        if record.result.method == "odd":
            assert f"seed {record.result.seed}" in words
            assert f"{record.result.test.macro_f1:.3f}" in words
    row = compare_runs(usual_runs(seeds=2)).row("odd")
    recall = row.classes[NAMES[0]].recall
    assert f"{recall.mean:.3f} ({recall.interval.low:.3f} to {recall.interval.high:.3f})" in words


def test_a_void_methods_page_says_why_and_has_no_score(usual):
    page = pages_of(usual)["even/report.html"]
    assert "void" in page.words
    assert "constant predictions: always hate speech" in page.words
    assert not [word for word in page.words if re.search(r"0\.\d\d\d", word)]


def test_the_settings_of_its_runs_stand_on_a_methods_page(tmp_path):
    record = replace(run("odd"), folder=tmp_path / "odd" / "seed-0")
    record.folder.mkdir(parents=True)
    settings = 'seed = 0\n[method]\nname = "odd"\n[method.lora]\ntargets = ["query", "value"]\nrank = 8\n'
    (record.folder / "config.toml").write_text(settings, encoding="utf-8")
    page = pages_of(written([run("teacher"), record], tmp_path))["odd/report.html"]
    words = " ".join(page.words)
    assert "method.lora.rank 8" in words
    assert "method.lora.targets query, value" in words
    assert "All settings" not in pages_of(tmp_path)["teacher/report.html"].words


def test_every_link_of_every_page_leads_to_a_file_that_is_there(hostile):
    for path, page in pages_of(hostile).items():
        links = [value for name, value in page.attributes if name == "href" and not value.startswith("#")]
        assert links
        assert all((hostile / path).parent.joinpath(link).is_file() for link in links), path
    text = (hostile / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"(?<!\\)\]\((.+?)\)", text)
    assert len(links) > 10
    assert all((hostile / link).is_file() for link in links)


def test_markdown_tells_the_same_numbers_as_html(usual):
    text = (usual / "report.md").read_text(encoding="utf-8")
    words = " ".join(Page((usual / "report.html").read_text(encoding="utf-8")).words).replace("\u00a0", " ")
    rows = [line for line in text.splitlines() if line.startswith(("| [odd](odd/report.html) |", "| odd |"))]
    assert len(rows) >= 4
    for row in rows:
        cells = [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row.strip("|").split(" | ")]
        assert all(cell in words for cell in cells[1:])


def test_no_figure_is_missing_or_left_over(usual):
    drawn = {path.stem for path in (usual / "figures").glob("*.svg")}
    ids = {name for page in pages_of(usual).values() for name in page.ids}
    assert all(any(name.startswith(f"{figure}-") for name in ids) for figure in drawn)
    pictures = [page.attributes.count(("class", "picture")) for page in pages_of(usual).values()]
    assert sum(pictures) == len(drawn)
    assert {"scores", "classes", "teacher.curves", "odd.curves", "odd.confusion", "odd.calibration"} <= drawn
    assert "(figures/odd.curves.svg)" in (usual / "report.md").read_text(encoding="utf-8")


def test_two_figures_of_one_name_are_refused_wherever_they_stand():
    one = FigureBlock("size", "a", "b", "<svg/>")
    document = Document("t", "l", (Section("s", "S", (one, Fold("more", (one,)))),))
    with pytest.raises(ValueError, match="two figures are called size"):
        drawn_figures(document)


def test_figures_in_folds_are_found():
    fold = Fold("more", (FigureBlock("size", "a", "b", "<svg/>"),))
    assert drawn_figures(Document("t", "l", (Section("s", "S", (fold,)),))) == {"size": "<svg/>"}


BLOCKS = (
    Answers((("Which <is> best?", "None *is*, p = 1.000."),)),
    Card("Recommended <", "odd & even", "Small.", (("size |", "3 MB"),)),
    Fold("More <b>*x*", (Paragraph("In a fold."), Links((("a [file]", "odd/x y.csv"),)))),
    Table("Pairs", ("name", "time"), (("odd", Keyed("5.0 min", 300.0)), ("even", "—")), links={"odd": "odd/p.html"}),
)


def test_every_kind_of_block_is_written_as_html():
    text = to_html(Document("t", "l", (Section("s", "S", BLOCKS),), around=(("All <", "../report.html"),)))
    page = Page(text)
    assert {"Recommended <", "odd & even", "size |", "3\u00a0MB", "More <b>*x*", "All <", "5.0 min"} <= set(page.words)
    assert {("href", "odd/x%20y.csv"), ("href", "odd/p.html"), ("href", "../report.html")} <= set(page.attributes)
    assert {"Which <is> best?", "None *is*, p\u00a0=\u00a01.000."} <= set(page.words)
    assert ("data-key", "300") in page.attributes
    assert page.tags.count("details") == 2


def test_no_line_ends_within_a_p_or_before_a_unit():
    page = to_html(Document("", "", (Section("one", "One", (Paragraph("odd (p < 0.001), even (p = 0.02), 12 ms"),)),)))
    assert "odd (p\u00a0&lt;\u00a00.001), even (p\u00a0=\u00a00.02), 12\u00a0ms" in page


def test_every_kind_of_block_is_written_as_markdown():
    text = to_markdown(Document("t", "l", (Section("s", "S", BLOCKS),)))
    assert "> **Recommended \\<: odd \\& even.** Small.\n>\n> - size \\|: 3 MB\n" in text
    assert "- **Which \\<is\\> best?** None \\*is\\*, p = 1.000." in text
    assert "<details><summary>More &#60;b&#62;&#42;x&#42;</summary>\n\nIn a fold.\n\n" in text
    assert "- [a \\[file\\]](odd/x%20y.csv)\n\n</details>" in text
    assert "| [odd](odd/p.html) | 5.0 min |" in text


def test_a_void_method_is_told_with_its_reason_and_without_a_number(usual):
    text = (usual / "report.md").read_text(encoding="utf-8")
    scores = next(line for line in text.splitlines() if line.startswith("| [even](even/report.html) | — | void |"))
    assert scores.count("—") >= 5
    assert "| even | 0 | constant predictions: always hate speech |" in text


def test_the_pages_need_nothing_from_elsewhere_and_run_one_script_of_their_own(hostile):
    scripts = set()
    for path, page in pages_of(hostile).items():
        assert not {"img", "link", "iframe", "object", "image", "b"} & set(page.tags)
        assert page.tags.count("script") == 1
        names = {name for name, _ in page.attributes}
        assert not {name for name in names if name.startswith("on") or name in {"src", "srcset", "action"}}
        links = [value for name, value in page.attributes if name.endswith("href")]
        inside = {link[1:] for link in links if link.startswith("#")}
        assert inside <= set(page.ids)
        assert all(re.fullmatch(r"#.+|[a-z0-9./-]+", link) for link in links)
        styles = " ".join(value or "" for name, value in page.attributes if name in {"style", "clip-path"})
        assert all(inner.startswith("#") for inner in re.findall(r"url\((.*?)\)", styles))
        scripts.update(re.findall(r"<script>(.*?)</script>", (hostile / path).read_text("utf-8"), re.DOTALL))
    (script,) = scripts
    assert not re.search(r"fetch|XMLHttp|innerHTML|eval|import\b|https?:", script)


def test_no_two_parts_of_a_page_share_an_id(hostile):
    for page in pages_of(hostile).values():
        assert len(page.ids) == len(set(page.ids))


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


def test_comments_are_shown_as_they_are_written(hostile):
    words = Page((hostile / "odd" / "report.html").read_text(encoding="utf-8")).words
    assert any(re.fullmatch(r"=1\+1 <script>alert\(\d+\)</script> \| \[l\]\(u\) <b>two</b>", word) for word in words)


def test_the_lists_hold_every_doubtful_row_and_no_formula(hostile):
    comparison = compare_runs(hostile_runs(), hostile_evidence())
    assert json.loads((hostile / "comparison.json").read_text(encoding="utf-8")) == comparison.model_dump(mode="json")
    for path, count in (
        ("odd/disagreements.csv", comparison.row("odd").disagreements.count),
        ("lora/disagreements.csv", comparison.row("lora").disagreements.count),
        ("label-errors.csv", comparison.label_errors.count),
    ):
        with (hostile / path).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == count > 0
        assert all(row["text"].startswith("'=1+1 <script>") and "\n" in row["text"] for row in rows)
        assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())
    assert not (hostile / "teacher" / "disagreements.csv").exists()


def test_the_first_rows_of_a_list_are_those_of_the_report(hostile):
    found = compare_runs(hostile_runs(), hostile_evidence(error_rows=3)).row("odd").disagreements
    with (hostile / "odd" / "disagreements.csv").open(encoding="utf-8", newline="") as stream:
        rows = [int(row["row"]) for row in csv.DictReader(stream)]
    assert [one.row for one in found.top] == rows[:3]


def test_where_no_comment_may_be_shown_none_is_left_in_any_file(tmp_path):
    runs = [run("teacher", names=HOSTILE, history=False), run("odd", good=1.0, names=HOSTILE, history=False)]
    written(runs, tmp_path, hostile_evidence())
    assert [path for path in tmp_path.rglob("*.csv") if "=1+1" in path.read_text("utf-8")]
    written(runs, tmp_path, hostile_evidence(error_rows=0))
    assert not [*tmp_path.rglob("disagreements.csv"), *tmp_path.glob("label-errors.csv")]
    assert not [path for path in tmp_path.rglob("*.*") if "=1+1" in path.read_text("utf-8", "replace")]


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


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\n=", "\u200b=", "＝"])
def test_text_that_a_spreadsheet_would_run_is_quoted(start):
    assert f"'{start}1+1" in to_csv([run("odd", machine=f"{start}1+1", void="loss not finite")])


def test_the_same_runs_give_the_same_bytes_in_any_order(usual, tmp_path):
    written(usual_runs(seeds=2)[::-1], tmp_path)
    files = sorted(file.relative_to(usual) for file in usual.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file())
    assert all((usual / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


def test_curves_of_a_method_that_is_gone_are_removed(tmp_path):
    old = tmp_path / "figures" / "odd.curves.svg"
    old.parent.mkdir()
    old.write_text("<svg/>")
    written([run("teacher")], tmp_path)
    assert (tmp_path / "figures" / "teacher.curves.svg").is_file()
    assert not old.exists()


def test_the_page_of_a_method_that_is_gone_is_removed_and_nobody_elses_of_that_name(tmp_path):
    teacher, odd = (run(method, rows=30, history=False) for method in ("teacher", "odd"))
    written([teacher, odd], tmp_path)
    written([teacher], tmp_path / "older")  # an experiment inside another's folder
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "report.html").write_text("<a href='report.html'>mine</a>")
    assert "odd/report.html" in pages_of(tmp_path)
    written([teacher], tmp_path)
    own = {"report.html", "teacher/report.html"}
    assert set(pages_of(tmp_path)) == own | {f"older/{path}" for path in own} | {"notes/report.html"}


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_figures_are_drawn_for_any_number_of_classes(classes):
    names = tuple(f"a class with a long name, number {index}" for index in range(classes))
    runs = [run("teacher", names=names), run("tfidf", good=1.0, names=names)]
    figures = drawn_figures(build_document(compare_runs(runs), runs))
    assert {"scores", "classes", "confusion", "calibration"} <= set(figures)


def test_a_figure_is_also_saved_as_png(tmp_path):
    plots.score_bars(compare_runs(usual_runs()), png=tmp_path / "scores.png")
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="pip install 'distilora\\[train\\]'"):
        plots.score_bars(compare_runs(usual_runs()))
