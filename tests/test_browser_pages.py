"""The other pages in a real browser: the API's description, signing in, and what is said when it fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from browser_cases import KEY, TEXT, Site, classify, running, visiting
from distilora.serve.problems import KINDS

REQUESTS = 12
"""That the small server has in hand at once: more than a page needs."""

HEAD_ALONE = (
    b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
"""Of a request whose body does not come; the server answers ``100 Continue`` once it has the request in hand."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("served"), key=KEY) as site:
        yield site


@pytest.fixture(scope="module")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with so little of everything that it must refuse."""
    limits = {"body_bytes": 1024, "requests": REQUESTS, "deadline_s": 1e-9}
    words = [word for name, value in limits.items() for word in ("--limit", f"{name}={value}")]
    with running(tmp_path_factory.mktemp("small"), *words) as site:
        yield site


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A page of somebody who has signed in."""
    with visiting(browser, site) as page:
        sign_in(page)
        yield page


def sign_in(page: Page, *, at: str = "/", key: str = KEY) -> None:
    page.goto(at)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def test_without_the_key_every_page_asks_for_it_and_the_right_one_leads_on(browser: Browser, site: Site) -> None:
    with visiting(browser, site, expected=["status of 401"]) as page:
        page.goto("/files")
        assert page.url == f"{site.address}/sign-in?next=/files"
        expect(page.get_by_label("API key")).to_be_focused()
        expect(page.get_by_role("navigation")).to_have_count(0)
        page.keyboard.type("this-is-not-the-key")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("This is not the key.")
        expect(page.get_by_label("API key")).to_have_attribute("aria-invalid", "true")
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Classify a file")).to_be_visible()
        assert page.url == f"{site.address}/files"
        (cookie,) = page.context.cookies()
        assert KEY not in cookie["value"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.goto("/")
        classify(page, TEXT)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()
        page.goto("/feedback")
        assert urlsplit(page.url).path == "/sign-in"


def test_signing_in_never_leads_to_another_site(browser: Browser, site: Site) -> None:
    with visiting(browser, site) as page:
        sign_in(page, at="/sign-in?next=//evil.example/")
        expect(page.get_by_role("heading", name="Classify a comment")).to_be_visible()
        assert page.url == f"{site.address}/"


def test_whoever_is_signed_out_meanwhile_loses_nothing(browser: Browser, site: Site) -> None:
    with visiting(browser, site, expected=["status of 401"]) as page:
        sign_in(page)
        page.get_by_label("Comment", exact=True).fill(TEXT)
        page.context.clear_cookies()
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_role("alert")).to_contain_text("You are signed out")
        expect(page.get_by_label("Comment", exact=True)).to_have_value(TEXT)
        with page.expect_popup() as popup:
            page.get_by_role("link", name="Sign in, in a tab of its own").click()
        popup.value.get_by_label("API key").fill(KEY)
        popup.value.get_by_role("button", name="Sign in").click()
        expect(popup.value.get_by_role("heading", name="Classify a comment")).to_be_visible()
        page.get_by_role("button", name="Classify").click()
        expect(page.locator("#result .label")).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)


def test_the_api_page_leads_to_every_address_and_every_problem(page: Page) -> None:
    page.get_by_role("link", name="API").click()
    links = page.get_by_role("navigation", name="On this page").get_by_role("link")
    assert links.count() >= 10
    for link in links.all():
        link.click()
        target = page.locator(f"[id='{urlsplit(page.url).fragment}']")
        expect(target).to_be_in_viewport()
        assert target.inner_text().split("\n")[0].split()[-1] in link.inner_text()
    for kind in KINDS:
        page.goto(f"/api#{kind}")
        row = page.locator(f"tr[id='{kind}']")
        expect(row).to_be_in_viewport()
        expect(row).to_contain_text(KINDS[kind].advice)
    expect(page.get_by_text("Authorization: Bearer KEY").first).to_be_visible()


def test_an_example_of_the_api_page_is_copied(browser: Browser, site: Site) -> None:
    with visiting(browser, site, permissions=["clipboard-read", "clipboard-write"]) as page:
        sign_in(page, at="/api")
        page.get_by_role("button", name="Copy").first.click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        expect(page.locator("#live")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == page.locator(".code code").first.inner_text()


def test_a_page_that_is_not_there_is_told_as_a_page(browser: Browser, site: Site) -> None:
    with visiting(browser, site, expected=["status of 404"]) as page:
        sign_in(page)
        page.goto("/nowhere")
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_role("link", name="To the first page").click()
        expect(page.get_by_role("heading", name="Classify a comment")).to_be_visible()


def asked(page: Page, text: str = TEXT) -> None:
    page.goto("/")
    page.get_by_label("Comment", exact=True).fill(text)
    page.get_by_role("button", name="Classify").click()


def test_an_answer_that_comes_too_late_is_told_kindly_and_the_text_stays(browser: Browser, small_site: Site) -> None:
    with visiting(browser, small_site, expected=["status of 504"]) as page:
        asked(page)
        expect(page.get_by_role("alert")).to_contain_text(KINDS["too-late"].title)
        expect(page.get_by_role("alert")).to_contain_text(KINDS["too-late"].advice)
        expect(page.get_by_label("Comment", exact=True)).to_have_value(TEXT)
        expect(page.get_by_role("button", name="Classify")).to_be_enabled()


def test_a_body_above_the_limit_is_told_kindly(browser: Browser, small_site: Site) -> None:
    with visiting(browser, small_site, expected=["status of 413"]) as page:
        asked(page, "x" * 2000)
        expect(page.get_by_role("alert")).to_contain_text(KINDS["body-too-large"].title)


def test_a_server_with_too_much_to_do_says_when_to_come_again(browser: Browser, small_site: Site) -> None:
    with visiting(browser, small_site, expected=["status of 429"]) as page, ExitStack() as waiting:
        page.goto("/")
        page.get_by_label("Comment", exact=True).fill(TEXT)
        port = urlsplit(small_site.address).port
        for _ in range(REQUESTS):
            stranger = waiting.enter_context(socket.create_connection(("127.0.0.1", port)))
            stranger.sendall(HEAD_ALONE)
            assert stranger.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_role("alert")).to_contain_text(KINDS["too-busy"].title)
        expect(page.get_by_role("alert")).to_contain_text("Try again in 1 s; nothing you wrote is lost.")


def test_a_value_that_is_not_allowed_is_told_at_its_field(browser: Browser, small_site: Site) -> None:
    with visiting(browser, small_site, expected=["status of 422"]) as page:
        page.goto("/")
        page.locator("#ask").evaluate("form => { form.noValidate = true }")
        page.get_by_text("More options", exact=True).click()
        page.get_by_label("Threshold").fill("7")
        page.get_by_label("Comment", exact=True).fill(TEXT)
        page.get_by_role("button", name="Classify").click()
        expect(page.locator("#threshold-problem")).to_contain_text("a number from 0 to 1")
        expect(page.get_by_label("Threshold")).to_be_focused()
        expect(page.get_by_label("Threshold")).to_have_attribute("aria-invalid", "true")


def test_without_a_connection_the_page_says_so_and_keeps_the_text(browser: Browser, small_site: Site) -> None:
    with visiting(browser, small_site, expected=["ERR_INTERNET_DISCONNECTED"]) as page:
        page.goto("/")
        page.get_by_label("Comment", exact=True).fill(TEXT)
        page.context.set_offline(True)
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
        expect(page.get_by_label("Comment", exact=True)).to_have_value(TEXT)


def test_without_a_report_the_page_says_how_to_get_one(browser: Browser, small_site: Site) -> None:
    with visiting(browser, small_site) as page:
        page.goto("/report")
        expect(page.get_by_text("distilora report runs/NAME")).to_be_visible()
