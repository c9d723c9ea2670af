"""Every page in a real browser for everybody: without JavaScript, by keyboard, narrow, dark, and judged by axe-core."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from playwright.sync_api import Browser, Page, expect

from browser_cases import KEY, NARROW, TEXT, WIDE, Site, classify, running, serious_faults, visiting

LONG = f"{TEXT} , thank you . " * 40
ROWS = b"id,text\n1,you are all idiots\n2,what a lovely day\n3,\n4," + b"so very nice you people " * 40 + b"\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("served"), broken=True, report=True) as site:
        yield site


@pytest.fixture(scope="module")
def locked_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("locked"), "--no-feedback", key=KEY) as site:
        yield site


@pytest.fixture
def plain(browser: Browser, site: Site) -> Iterator[Page]:
    """A page on which no script runs."""
    with visiting(browser, site, java_script_enabled=False, expected=["status of 422"]) as page:
        page.goto("/")
        yield page


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with visiting(browser, site) as page:
        page.goto("/")
        yield page


def test_without_javascript_a_comment_is_classified_explained_compared_and_judged(plain: Page, site: Site) -> None:
    (said,) = site.bundle("even").predict([TEXT])
    classify(plain, TEXT, model="even")
    expect(plain.locator("#result .verdict .label")).to_have_text(said.label)
    expect(plain.get_by_label("Comment", exact=True)).to_have_value(TEXT)
    expect(plain.locator("#ask #model")).to_have_value("even")
    classify(plain, TEXT, how="Explain")
    expect(plain.locator("#result .influence .word").first).to_be_visible()
    expect(plain.locator("#result .model-line")).to_contain_text("even")
    classify(plain, TEXT, how="Compare all models")
    assert plain.locator(".compared-one h3").all_inner_texts() == ["odd", "even", "plain"]
    classify(plain, TEXT)
    plain.get_by_label("Note").fill("a note")
    plain.get_by_role("button", name="Wrong", exact=True).click()
    expect(plain.get_by_text("Your judgement is stored")).to_be_visible()
    expect(plain.locator("tr.fresh")).to_contain_text("a note")
    plain.locator("tr.fresh").get_by_text("Delete", exact=True).click()
    plain.locator("tr.fresh").get_by_role("button", name="Delete for good").click()
    expect(plain.get_by_text("is deleted.")).to_be_visible()


def test_without_javascript_an_empty_comment_is_refused_in_place(plain: Page) -> None:
    plain.get_by_role("button", name="Classify").click()
    expect(plain.locator("#text-problem")).to_contain_text("this one is empty")


def test_without_javascript_a_file_becomes_a_csv_and_a_wrong_column_can_be_chosen(plain: Page) -> None:
    plain.get_by_role("link", name="Files").click()
    file = {"name": "comments.csv", "mimeType": "text/csv", "buffer": b"first,second\na,you are nice\nb,\n"}
    plain.get_by_label("File of comments").set_input_files(file)
    plain.get_by_role("button", name="Classify").click()
    expect(plain.get_by_role("alert")).to_contain_text("Choose the file again, and the column")
    plain.get_by_label("Column of the comments").select_option("second")
    plain.get_by_label("File of comments").set_input_files(file)
    with plain.expect_download() as download:
        plain.get_by_role("button", name="Classify").click()
    content = Path(download.value.path()).read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(content, newline=""), strict=True))
    assert [(row["text"], bool(row["label"]), bool(row["problem"])) for row in rows] == [
        ("you are nice", True, False),
        ("", False, True),
    ]


def focused(page: Page) -> str:
    """Return what has the focus, by its text or name; it must be seen to have it."""
    found: dict[str, object] = page.evaluate(
        """() => {
          const element = document.activeElement;
          const style = getComputedStyle(element);
          const box = element.getBoundingClientRect();
          const inView = box.width > 0 && box.top < innerHeight && box.bottom > 0;
          return {
            name: element.id || element.innerText || element.getAttribute("aria-label") || element.name,
            seen: inView && parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== "none",
          };
        }"""
    )
    assert found["seen"], found
    return str(found["name"]).strip()


def tab(page: Page, times: int = 1) -> str:
    for _ in range(times):
        page.keyboard.press("Tab")
    return focused(page)


def test_by_keyboard_alone_a_comment_is_classified_and_judged(page: Page) -> None:
    walked = [tab(page) for _ in range(7)]
    assert walked == ["Skip to the content", "distilora", "Comment", "Files", "Feedback", "Report", "API"]
    assert [tab(page) for _ in range(6)] == [
        "text",
        "model",
        "More options",
        "Classify",
        "Explain",
        "Compare all models",
    ]
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    assert focused(page) == "More options"
    page.keyboard.press("Enter")
    assert tab(page) == "threshold"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("even")
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "text"
    page.keyboard.type(TEXT)
    assert tab(page, 3) == "Classify"
    page.keyboard.press("Enter")
    expect(page.locator("#result .model-line")).to_contain_text("even")
    assert tab(page, 3) == "Right"
    page.keyboard.press("Enter")
    expect(page.locator("#judgement")).to_contain_text("Your judgement is stored")


def test_the_skip_link_leads_past_the_navigation(page: Page) -> None:
    assert tab(page) == "Skip to the content"
    page.keyboard.press("Enter")
    assert tab(page) == "text"


def test_by_keyboard_alone_pasted_comments_are_classified_sorted_and_filtered(page: Page) -> None:
    page.goto("/files")
    page.get_by_label("Or paste comments").focus()
    page.keyboard.type("you are nice\nso rude\n")
    assert tab(page) == "lines"
    assert tab(page) == "model"
    assert tab(page, 3) == "start"
    page.keyboard.press("Enter")
    expect(page.locator("#progress-name")).to_have_text("Done")
    assert focused(page) == "start"
    page.keyboard.press("Tab")
    assert tab(page) == "filter-text"
    page.keyboard.type("rude")
    expect(page.locator("#rows tr")).to_have_count(1)
    expect(page.locator("#live")).to_have_text("1 of 2 answers")


def choose_file(page: Page, content: bytes = ROWS) -> None:
    page.goto("/files")
    page.get_by_label("File of comments").set_input_files({"name": "c.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Classify").click()


def answered_file(page: Page) -> None:
    choose_file(page)
    expect(page.locator("#progress-name")).to_have_text("Done")
    page.get_by_text("One row cannot be read").click()
    page.get_by_label("Comments with").fill("o")
    expect(page.locator("#shown")).to_contain_text(" of ")


def file_without_column(page: Page) -> None:
    choose_file(page, b"first,second\na,b\n")
    expect(page.locator("#text-problem")).not_to_be_empty()


def answered(how: str, text: str = LONG) -> Callable[[Page], None]:
    def state(page: Page) -> None:
        page.goto("/")
        page.get_by_text("More options", exact=True).click()
        classify(page, text, how=how)
        for details in page.locator("#result summary").all():
            details.click()

    return state


def empty(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#text-problem")).not_to_be_empty()


def judged(page: Page) -> None:
    answered("Classify")(page)
    page.get_by_label("Note").fill("a note on this judgement")
    page.get_by_role("button", name="Wrong", exact=True).click()
    expect(page.locator("#judgement")).to_contain_text("Your judgement is stored")


def listed(page: Page) -> None:
    judged(page)
    page.get_by_role("link", name="page of feedback").click()
    for details in page.locator(".judgements tbody tr").first.locator("summary").all():
        details.click()


def offline(page: Page) -> None:
    page.goto("/")
    page.context.set_offline(True)
    page.get_by_label("Comment", exact=True).fill(TEXT)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_be_visible()


def opened(path: str) -> Callable[[Page], None]:
    def state(page: Page) -> None:
        page.goto(path)
        for details in page.locator("details:not([open], [hidden]) > summary").all()[:3]:
            details.click()

    return state


STATES: Mapping[str, Callable[[Page], None]] = MappingProxyType(
    {
        "comment": opened("/"),
        "comment-empty": empty,
        "classified": answered("Classify"),
        "explained": answered("Explain"),
        "compared": answered("Compare all models"),
        "judged": judged,
        "offline": offline,
        "files": opened("/files"),
        "files-answered": answered_file,
        "files-column": file_without_column,
        "feedback": listed,
        "report": opened("/report"),
        "api": opened("/api"),
        "not-found": opened("/nowhere"),
    }
)
EXPECTED = ["status of 404", "status of 422", "ERR_INTERNET_DISCONNECTED"]


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_no_serious_fault_and_nothing_is_wider_than_the_window(
    browser: Browser, site: Site, state: str
) -> None:
    with visiting(browser, site, expected=EXPECTED, reduced_motion="reduce") as page:
        STATES[state](page)
        assert_sound_everywhere(page, state)


def wrong_key(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("API key").fill("this-is-not-the-key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()


def without_feedback(page: Page) -> None:
    page.goto("/feedback")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Feedback is off")).to_be_visible()


LOCKED_STATES = MappingProxyType({"sign-in": wrong_key, "feedback-off": without_feedback})


@pytest.mark.parametrize("state", LOCKED_STATES)
def test_axe_finds_no_serious_fault_where_a_key_is_needed(browser: Browser, locked_site: Site, state: str) -> None:
    with visiting(browser, locked_site, expected=["status of 401"], reduced_motion="reduce") as page:
        LOCKED_STATES[state](page)
        assert_sound_everywhere(page, state)


def assert_sound_everywhere(page: Page, name: str) -> None:
    """No serious fault and no sideways scrolling, wide and narrow, light and dark.

    Where the variable ``DISTILORA_SCREENSHOTS`` names a folder, each is drawn there.
    """
    folder = os.environ.get("DISTILORA_SCREENSHOTS")
    for width, size in (("wide", WIDE), ("narrow", NARROW)):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            if folder:
                page.screenshot(path=Path(folder) / f"{name}-{width}-{scheme}.png", full_page=name != "api")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], (width, scheme)
            assert serious_faults(page, only=["cat.color"] if scheme == "dark" else []) == [], (width, scheme)
