"""The page of files in a real browser: a file is answered as one watches, sorted, filtered and downloaded."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser_cases import HOSTILE, Site, assert_nothing_was_made_of, running, visiting
from distilora.data.cells import safe_cell

WORDS = ("you", "are", "not", "very", "nice", "stupid", "people", "thank", "dog", "hate")
DRAW = random.Random(0)  # noqa: S311
TEXTS = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 8))) for _ in range(120)]
FORMULA = "=HYPERLINK(A1)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("served"), "--no-feedback", "--limit", "file_rows=100000") as site:
        yield site


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with visiting(browser, site) as page:
        page.goto("/files")
        yield page


def csv_of(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def choose(page: Page, content: bytes, *, name: str = "comments.csv") -> None:
    page.get_by_label("File of comments").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def start(page: Page) -> None:
    page.get_by_role("button", name="Classify").click()


def finished(page: Page) -> None:
    expect(page.locator("#progress-name")).to_have_text("Done")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def column(page: Page, number: int) -> list[str]:
    """Return the texts of a column of the answers, counted from 1."""
    return page.locator(f"#rows td:nth-child({number})").all_inner_texts()


def downloaded(page: Page, button: str) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    content = Path(download.value.path()).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(content, newline=""), strict=True))


def problem(page: Page, name: str) -> Locator:
    return page.locator(f"#{name}-problem")


def test_a_file_is_answered_with_progress_to_its_end_and_every_label_is_counted(page: Page, site: Site) -> None:
    choose(page, csv_of([["id", "comment"], *([str(row), text] for row, text in enumerate(TEXTS))]))
    expect(page.get_by_label("Or paste comments")).to_be_disabled()
    page.get_by_label("Model").select_option("even")
    start(page)
    finished(page)
    expect(page.locator("#pace")).to_contain_text("120 comments in ")
    expect(page.get_by_role("progressbar", name="Done")).to_have_js_property("value", 120)
    expect(page.locator("#live")).to_contain_text("Done: 120 comments")
    expect(page.locator("#made-by")).to_contain_text("Model even · threshold 0.350")
    expect(page.locator("#made-by")).to_contain_text("column “comment”")
    said = list(site.bundle("even").predict(TEXTS))
    toxic = sum(answer.label == "toxic" for answer in said)
    assert 0 < toxic < 120
    expect(page.locator("#counts-title")).to_have_text(f"120 comments · {toxic} flagged")
    assert page.locator("#counts td.figures:nth-child(2)").all_inner_texts() == [str(120 - toxic), str(toxic)]
    assert column(page, 1) == [str(row) for row in range(1, 101)]
    assert column(page, 2) == TEXTS[:100]
    assert column(page, 3) == [answer.label for answer in said[:100]]
    expect(page.locator("#page-place")).to_have_text("1 to 100 of 120")
    page.get_by_role("button", name="Next").click()
    assert column(page, 2) == TEXTS[100:]
    expect(page.get_by_role("button", name="Last")).to_be_disabled()


def test_the_download_of_all_has_every_probability_and_no_formula(page: Page, site: Site) -> None:
    texts = [FORMULA, 'a, "b"\nc', *TEXTS[:20], "@SUM(A1)"]
    choose(page, csv_of([["text"], *([text] for text in texts)]))
    start(page)
    finished(page)
    rows = downloaded(page, "Download all")
    assert [row["text"] for row in rows] == [safe_cell(text) for text in texts]
    assert rows[0]["text"] == f"'{FORMULA}"
    for row, expected in zip(rows, site.bundle("odd").predict(texts), strict=True):
        assert row["label"] == expected.label
        for label, probability in expected.probabilities.items():
            assert float(row[f"probability_{label}"]) == pytest.approx(probability, abs=2e-6)
        assert (row["cut"], row["problem"]) == ("false", "")


def test_answers_are_sorted_by_any_column_both_ways(page: Page) -> None:
    choose(page, csv_of([["text"], *([text] for text in TEXTS[:60])]))
    start(page)
    finished(page)
    head = page.get_by_role("columnheader", name="toxic")
    for way, falling in (("descending", True), ("ascending", False)):
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", way)
        expect(page.locator("#live")).to_have_text(f"Sorted by toxic, {way}")
        shares = [float(cell.strip("<> ")) for cell in column(page, 5)]
        assert shares == sorted(shares, reverse=falling)
    page.get_by_role("button", name="Comment", exact=True).click()
    assert column(page, 2) == sorted(TEXTS[:60])
    page.get_by_role("button", name="Row", exact=True).click()
    assert column(page, 2) == TEXTS[:60]


def test_answers_are_filtered_by_text_label_and_probability_and_those_left_downloaded(page: Page, site: Site) -> None:
    choose(page, csv_of([["text"], *([text] for text in TEXTS)]))
    start(page)
    finished(page)
    answers = dict(zip(TEXTS, site.bundle("odd").predict(TEXTS), strict=True))
    page.get_by_label("Comments with").fill("STUPID")
    stupid = [text for text in TEXTS if "stupid" in text]
    expect(page.locator("#shown")).to_have_text(f"{len(stupid)} of 120 answers")
    assert column(page, 2) == stupid
    page.get_by_role("group", name="Which answers are shown").get_by_label("Label").select_option("toxic")
    toxic = [text for text in stupid if answers[text].label == "toxic"]
    expect(page.locator("#shown")).to_have_text(f"{len(toxic)} of 120 answers")
    page.get_by_label("Probability of").select_option("toxic")
    page.get_by_label("At least").fill("0.8")
    sure = [text for text in toxic if answers[text].probabilities["toxic"] >= 0.8]
    assert 0 < len(sure) < len(toxic) < len(stupid)
    expect(page.locator("#live")).to_have_text(f"{len(sure)} of 120 answers")
    assert column(page, 2) == sure
    assert [row["text"] for row in downloaded(page, "Download these")] == sure
    assert len(downloaded(page, "Download all")) == 120
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#shown")).to_have_text("120 answers")


def test_rows_that_cannot_be_read_are_listed_with_their_reason_and_stand_in_the_download(page: Page) -> None:
    choose(page, b"id,text\n1,fine\n2,\n3,caf\xe9\n4,also fine\n")
    start(page)
    finished(page)
    expect(page.locator("#pace")).to_contain_text("2 could not be read")
    page.get_by_text("2 rows cannot be read").click()
    assert page.locator("#reject-rows td:first-child").all_inner_texts() == ["2", "3"]
    expect(page.locator("#reject-rows")).to_contain_text("UTF-8")
    rows = downloaded(page, "Download all")
    assert [row["row"] for row in rows] == ["1", "2", "3", "4"]
    assert [bool(row["problem"]) for row in rows] == [False, True, True, False]


def test_a_file_can_be_dropped_and_taken_away_again(page: Page) -> None:
    drop(page, "text\nwhat a day\n")
    expect(page.get_by_label("Or paste comments")).to_be_disabled()
    page.get_by_role("button", name="Take the file away").click()
    expect(page.get_by_label("Or paste comments")).to_be_enabled()
    drop(page, "text\nyou are nice\n")
    start(page)
    finished(page)
    assert column(page, 2) == ["you are nice"]


def drop(page: Page, content: str) -> None:
    """Drop a file as a person does who drags it from another window."""
    data = page.evaluate_handle(
        """(content) => {
          const data = new DataTransfer();
          data.items.add(new File([content], "dropped.csv", { type: "text/csv" }));
          return data;
        }""",
        content,
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": data})
    expect(page.locator("#drop")).to_have_class(re.compile("over"))
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})


@pytest.mark.parametrize(
    ("pasted", "found"),
    [
        ("you are nice\nyou are not, dog", ["you are nice", "you are not, dog"]),
        ('id,text\n1,"you, dog"\n2,nice', ["you, dog", "nice"]),
        ("id\ttext\n1\tyou, dog\n", ["you, dog"]),
        ('{"text": "you\\ndog"}\n', ["you\ndog"]),
    ],
)
def test_pasted_lines_and_tables_are_told_apart(page: Page, pasted: str, found: list[str]) -> None:
    page.get_by_label("Or paste comments").fill(pasted)
    start(page)
    finished(page)
    assert column(page, 2) == found


def test_nothing_to_send_is_told_in_place(page: Page) -> None:
    start(page)
    expect(problem(page, "pasted")).to_have_text("Choose a file or paste comments first.")
    expect(page.get_by_label("Or paste comments")).to_be_focused()


def test_where_no_column_looks_like_the_comments_one_is_chosen(browser: Browser, site: Site) -> None:
    with visiting(browser, site, expected=["status of 422"]) as page:
        page.goto("/files")
        choose(page, b"first,second\nyou,dog\nare,cat\n")
        start(page)
        expect(problem(page, "text")).to_contain_text("It is not clear which column holds the comments")
        expect(page.get_by_label("Column of the comments")).to_be_focused()
        page.get_by_label("Column of the comments").select_option("second")
        start(page)
        finished(page)
        assert column(page, 2) == ["dog", "cat"]


def test_a_file_that_is_none_is_told_kindly(browser: Browser, site: Site) -> None:
    with visiting(browser, site, expected=["status of 415"]) as page:
        page.goto("/files")
        choose(page, b"PK\x03\x04\x00\x00\x00", name="comments.xlsx")
        start(page)
        expect(page.get_by_role("alert")).to_contain_text("send .csv, .tsv, .jsonl, .ndjson or .txt")
        expect(page.get_by_role("button", name="Classify")).to_be_enabled()


def test_work_is_stopped_on_demand_and_what_came_stays(page: Page) -> None:
    choose(page, b"you are not very nice , stupid people\n" * 100_000, name="many.txt")
    start(page)
    expect(page.locator("#rows tr")).to_have_count(100)
    expect(page.get_by_role("progressbar", name="Classifying")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#progress-name")).to_have_text("Stopped")
    expect(page.locator("#live")).to_have_text("Stopped")
    expect(page.get_by_role("button", name="Classify")).to_be_focused()
    answered = page.get_by_role("progressbar", name="Stopped").evaluate("bar => bar.value")
    assert 100 <= answered < 100_000
    page.get_by_role("button", name="Take the file away").click()
    page.get_by_label("Or paste comments").fill("thank you")
    start(page)
    finished(page)
    assert column(page, 2) == ["thank you"]


def test_a_server_that_goes_away_leaves_what_came_and_says_so(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        running(tmp_path_factory.mktemp("gone"), "--no-feedback", "--limit", "file_rows=100000") as site,
        visiting(browser, site, expected=["ERR_"]) as page,
    ):
        page.goto("/files")
        choose(page, b"you are not very nice , stupid people\n" * 100_000, name="many.txt")
        start(page)
        expect(page.locator("#rows tr")).to_have_count(100)
        site.process.kill()
        expect(page.get_by_role("alert")).to_contain_text("The connection was cut")
        expect(page.locator("#rows tr")).to_have_count(100)
        start(page)
        expect(page.get_by_role("alert")).to_contain_text("Is the server running?")


def test_comments_full_of_html_are_shown_as_text_alone(page: Page) -> None:
    page.get_by_label("Or paste comments").fill(json.dumps({"text": HOSTILE, "<evil-tag>": "<evil-tag>"}))
    start(page)
    finished(page)
    assert column(page, 2) == [f"{HOSTILE} cut"]
    assert_nothing_was_made_of(page, HOSTILE)
