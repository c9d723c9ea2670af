"""The report in a real browser: as a file by itself, and in its frame on a server's page."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect

from browser_cases import EXPERIMENT, KEY, NARROW, WIDE, Site, Watched, running, serious_faults, visiting
from distilora.evaluation.labelled_texts import LabelledTexts
from distilora.report import Evidence, compare_runs, write_report
from distilora.report.blocks import Card, Document, Fold, Keyed, Paragraph, Section, Table
from distilora.report.html import to_html
from report_cases import NAMES, ROWS, usual_runs

COLOURS = ("color-contrast", "link-in-text-block")
"""The rules of axe on colours, but those that go beyond level AA."""
CELLS = {
    "number": ("−0.25", "1,234", ".5", "—", "0.71 ± 0.02", "void", "-3"),
    "word": ("odd-10", "even", "odd-9", "", "Even", "lora", "—"),
    "key": ("5.0 min", "12.3 s", "2.5 h", "—", "1.0 s", "0.5 s", "60.0 min"),
}
KEYS = {"5.0 min": 300.0, "12.3 s": 12.3, "2.5 h": 9000.0, "1.0 s": 1.0, "0.5 s": 0.5, "60.0 min": 3600.0}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a whole report, comments included."""
    folder = tmp_path_factory.mktemp("experiment")
    runs = usual_runs(seeds=2)
    labels = next(run.test_labels for run in runs if run.test_labels is not None)
    texts = [f"comment {row}, <b>not bold</b>" for row in range(ROWS)]
    evidence = Evidence(test_rows=LabelledTexts(texts, labels, NAMES, np.arange(1, ROWS + 1)))
    write_report(compare_runs(runs, evidence), runs, folder, evidence=evidence)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("served"), key=KEY, report=True) as site:
        yield site


@contextmanager
def reading(browser: Browser, folder: Path, **options: Any) -> Iterator[Page]:
    """Give a page of files; nothing may go wrong on it, and nothing be asked for but files of this folder."""
    watched = Watched(folder.resolve().as_uri())
    context = browser.new_context(**{"viewport": WIDE, **options})
    watched.watch(context)
    try:
        yield context.new_page()
        assert not watched.faults
    finally:
        context.close()


@pytest.fixture
def table_page(tmp_path: Path) -> Path:
    """Return a page with one table whose cells are hard to sort."""
    rows = tuple(
        (f"row {index}", number, word, Keyed(key, KEYS[key]) if key in KEYS else key)
        for index, (number, word, key) in enumerate(zip(*CELLS.values(), strict=True))
    )
    table = Table("Hard to sort", ("row", *CELLS), rows)
    fixed = replace(table, caption="Not to be sorted", sortable=False)
    blocks = (Card("Recommended", "odd", "It is small."), table, fixed, Fold("More", (Paragraph("Folded words."),)))
    path = tmp_path / "page.html"
    path.write_text(to_html(Document("A page", "Words.", (Section("one", "One", blocks),))), encoding="utf-8")
    return path


def first_cells(table: Locator) -> str:
    """Return the rows of a table by their numbers, such as ``0123456``."""
    return "".join(name.removeprefix("row ") for name in table.locator("tbody th").all_inner_texts())


@pytest.mark.parametrize(
    ("column", "rising", "falling"),
    [
        # −3, −0.25, 0.5, 0.71, 1234; then what is no number, as it was.
        ("number", "6024135", "1420635"),
        # Letters alone decide, 9 comes before 10, and equal words stay as they were.
        ("word", "1452036", "0251436"),
        ("key", "5410623", "2601453"),
    ],
)
def test_a_click_sorts_another_turns_round_and_a_third_restores(
    browser: Browser, table_page: Path, column: str, rising: str, falling: str
) -> None:
    with reading(browser, table_page.parent) as page:
        page.goto(table_page.as_uri())
        table = page.get_by_role("table", name="Hard to sort")
        header = table.get_by_role("columnheader", name=column)
        for order, state in (
            (rising, "ascending"),
            (falling, "descending"),
            ("0123456", None),
            (rising, "ascending"),
        ):
            header.get_by_role("button").click()
            assert first_cells(table) == order
            assert header.get_attribute("aria-sort") == state


def test_keys_alone_sort_and_one_column_at_a_time_is_sorted(browser: Browser, table_page: Path) -> None:
    with reading(browser, table_page.parent) as page:
        page.goto(table_page.as_uri())
        table = page.get_by_role("table", name="Hard to sort")
        page.get_by_role("button", name="row", exact=True).focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert first_cells(table) == "6024135"
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        assert first_cells(table) == "1452036"
        expect(table.locator("[aria-sort]")).to_have_count(1)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert (page.evaluate("document.activeElement.textContent"), outline) == ("word", "solid")


def test_a_table_without_another_order_has_no_buttons(browser: Browser, table_page: Path) -> None:
    with reading(browser, table_page.parent) as page:
        page.goto(table_page.as_uri())
        expect(page.get_by_role("table", name="Not to be sorted").get_by_role("button")).to_have_count(0)


def test_without_javascript_everything_can_be_read(browser: Browser, experiment: Path) -> None:
    with reading(browser, experiment, java_script_enabled=False, viewport=NARROW) as page:
        page.goto((experiment / "report.html").as_uri())
        expect(page.get_by_role("navigation", name="Contents").get_by_role("link").first).to_be_visible()
        expect(page.get_by_role("columnheader").first).to_be_visible()
        expect(page.locator("thead button")).to_have_count(0)


def test_the_contents_stay_within_reach_and_out_of_the_way_in_a_narrow_window(
    browser: Browser, experiment: Path
) -> None:
    with reading(browser, experiment, viewport=NARROW) as page:
        page.goto((experiment / "report.html").as_uri())
        contents = page.get_by_role("navigation", name="Contents")
        expect(contents.get_by_role("link").first).to_be_hidden()
        page.evaluate("scrollTo(0, 2500)")
        contents.get_by_text("Contents").click()
        contents.get_by_role("link", name="How it was done").click()
        expect(contents.get_by_role("link").first).to_be_hidden()
        heading, bar = page.get_by_role("heading", name="How it was done").bounding_box(), contents.bounding_box()
        assert heading is not None
        assert bar is not None
        assert bar["y"] == 0
        assert heading["y"] >= bar["height"]
        page.set_viewport_size(WIDE)
        expect(contents.get_by_role("link").first).to_be_visible()


def test_each_method_has_its_page_and_each_page_leads_on_and_back(browser: Browser, experiment: Path) -> None:
    with reading(browser, experiment) as page:
        page.goto((experiment / "report.html").as_uri())
        page.locator("table").get_by_role("link", name="odd", exact=True).first.click()
        walk_the_pages(page)
        with page.expect_download() as download:
            page.get_by_role("link", name="(CSV)").click()
        text = download.value.path().read_text(encoding="utf-8")
        rows = list(csv.DictReader(text.splitlines()))
        assert rows
        assert all(row["text"] == f"comment {int(row['row']) - 1}, <b>not bold</b>" for row in rows)


def walk_the_pages(page: Page | FrameLocator) -> None:
    """Go from the page of odd to that of a void method, back to the report and again to odd."""
    expect(page.get_by_role("heading", level=1)).to_have_text("odd")
    page.get_by_role("link", name="even", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("even")
    expect(page.get_by_text("constant predictions: always hate speech").first).to_be_visible()
    page.get_by_role("link", name="All methods").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Which small classifier")
    page.locator("ul.links").get_by_role("link", name="odd", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("odd")


@pytest.mark.parametrize("path", ["report.html", "odd/report.html", "even/report.html"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_no_serious_fault_and_the_page_itself_never_scrolls_sideways(
    browser: Browser, experiment: Path, path: str, size: dict[str, int]
) -> None:
    # axe adds a script of its own, which the page's policy would not let run.
    with reading(browser, experiment, viewport=size, bypass_csp=True) as page:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto((experiment / path).as_uri())
            for fold in page.locator("main details").all():
                fold.evaluate("fold => fold.open = true")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert serious_faults(page, only=COLOURS if scheme == "dark" else []) == [], scheme


def test_no_script_but_the_pages_own_may_run(browser: Browser, table_page: Path) -> None:
    text = table_page.read_text(encoding="utf-8").replace("</main>", "<script>document.title = 'run'</script></main>")
    table_page.write_text(text, encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(table_page.as_uri())
    assert page.title() == "A page"
    expect(page.locator("thead button")).to_have_count(4)
    context.close()


def test_on_paper_folds_are_open_and_nothing_is_there_to_be_pressed(browser: Browser, table_page: Path) -> None:
    with reading(browser, table_page.parent) as page:
        page.goto(table_page.as_uri())
        expect(page.get_by_text("Folded words.")).to_be_hidden()
        page.emulate_media(media="print")
        expect(page.get_by_text("Folded words.")).to_be_visible()
        expect(page.get_by_role("navigation", name="Contents")).to_be_hidden()
        arrow = "getComputedStyle(document.querySelector('thead button'), '::after').display"
        assert page.evaluate(arrow) == "none"
        page.emulate_media(media="screen")
        assert page.pdf().startswith(b"%PDF")
        expect(page.get_by_text("Folded words.")).to_be_hidden()


def test_the_report_works_in_its_frame_and_cannot_reach_the_page(browser: Browser, site: Site) -> None:
    with visiting(browser, site) as page:
        page.goto("/")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Report").click()
        report = page.frame_locator("iframe")
        figures = report.locator("figure svg")
        expect(figures.first).to_be_visible()
        assert figures.count() >= 4
        # Only the report's own style gives the page another font than the browser's.
        assert "sans-serif" in report.locator("body").evaluate("body => getComputedStyle(body).fontFamily")
        assert report.locator("body").evaluate("() => self.origin") == "null"
        names = report.locator("table").nth(0).locator("tbody th")
        before = names.all_inner_texts()
        report.locator("table").nth(0).get_by_role("button").first.click()
        assert names.all_inner_texts() == sorted(before)
        report.locator("table").get_by_role("link", name="odd", exact=True).first.click()
        walk_the_pages(report)
        assert page.url.endswith("/report")
        with page.expect_popup() as popup:
            page.get_by_role("link", name=f"Open {EXPERIMENT} in its own window").click()
        expect(popup.value.get_by_role("heading", level=1)).to_be_visible()
        assert popup.value.url.endswith(f"/{quote(EXPERIMENT)}/report.html")
        popup.value.locator("table").get_by_role("link", name="odd", exact=True).first.click()
        walk_the_pages(popup.value)
