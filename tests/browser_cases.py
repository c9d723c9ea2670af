"""A real server and a real browser that watches it, for the tests that walk the pages.

The browser is the one that ``DISTILORA_CHROMIUM`` names, else a Chromium or Chrome that is installed. Where there is
none, the tests are skipped and say so.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.report import compare_runs, write_report
from report_cases import usual_runs
from serving_cases import BUNDLES
from tiny_bundle import save_tiny_bundle

TEXT = "you are all idiots"
HOSTILE = (
    "<script>document.title='run'</script><img src=https://evil.example/x.png onerror=document.title='run'>"
    '<style>@import "https://evil.example/x.css"</style><iframe src=//evil.example></iframe> </textarea></option>'
    ' "onfocus=alert(3) <svg onload=alert(4)> <evil-tag evil> {{ 7 * 7 }} &lt;b&gt; =1+1'
)
KEY = "a-key-for-the-tests"
EXPERIMENT = "trial & error"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# No name is looked up but the server's address, so nothing can leave, not even what the browser does by itself.
_ARGUMENTS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_TELL_VIOLATIONS = """
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass(frozen=True)
class Site:
    """A server that runs."""

    address: str
    folders: dict[str, Path]
    """Of the bundles that can be opened, by name."""
    process: subprocess.Popen[str]

    def bundle(self, name: str) -> Bundle:
        return open_bundle(self.folders[name], threads=1)


@dataclass
class Watched:
    """What went wrong on a page: errors on the console, scripts that failed, policies broken, requests elsewhere."""

    address: str
    faults: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        context.on("request", lambda request: self._request(request.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"console: {message.text}")

    def _request(self, url: str) -> None:
        if not url.startswith((f"{self.address}/", f"blob:{self.address}/")):
            self.faults.append(f"request: {url}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give the browser; without one, skip.

    It must end with its module: while it is open, other tests of the thread cannot run event loops.
    """
    with sync_playwright() as playwright:
        path = _chromium_path(playwright.chromium.executable_path)
        if path is None:
            pytest.skip("no Chromium here: install one, or name it in the variable DISTILORA_CHROMIUM")
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def _chromium_path(own: str) -> str | None:
    named = os.environ.get("DISTILORA_CHROMIUM")
    found = (path for name in _NAMES if (path := shutil.which(name)))
    return named or next(found, own if Path(own).is_file() else None)


@contextmanager
def visiting(browser: Browser, site: Site, *, expected: Sequence[str] = (), **options: Any) -> Iterator[Page]:
    """Give a page of a fresh profile, and assert at the end that nothing went wrong on it.

    Args:
        browser: real.
        site: whose address is put before paths.
        expected: parts of console messages that may come, such as ``status of 429``.
        options: of the profile, such as ``java_script_enabled=False``.
    """
    watched = Watched(site.address)
    context = browser.new_context(base_url=site.address, **{"viewport": WIDE, **options})
    context.set_default_timeout(15_000)
    expect.set_options(timeout=15_000)
    if options.get("java_script_enabled", True):
        context.add_init_script(_TELL_VIOLATIONS)
    watched.watch(context)
    try:
        yield context.new_page()
        faults = [fault for fault in watched.faults if not any(part in fault for part in expected)]
        assert not faults, faults
    finally:
        context.close()


@contextmanager
def running(
    folder: Path, *words: str, key: str | None = None, report: bool = False, broken: bool = False
) -> Iterator[Site]:
    """Give a server over the bundles of :mod:`serving_cases`: two of an experiment, and one by itself.

    Args:
        folder: for everything that it needs.
        words: more options of ``distilora serve``.
        key: that everybody must show.
        report: whether the experiment has its report.
        broken: whether there is one more bundle, which cannot be opened.
    """
    experiment = folder / EXPERIMENT
    folders = {name: experiment / name / "bundle" for name in ("odd", "even")} | {"plain": folder / "plain"}
    for name, where in folders.items():
        where.parent.mkdir(parents=True, exist_ok=True)
        save_tiny_bundle(where, name=name, **BUNDLES[name])
    paths = [experiment, folders["plain"]]
    if broken:
        paths.append(save_tiny_bundle(folder / "worn", name="worn"))
        (folder / "worn" / "model.onnx").write_bytes(b"worn out")
    if report:
        runs = usual_runs(seeds=2)
        write_report(compare_runs(runs), runs, experiment)
    with _process([*map(str, paths), *words], key=key) as (process, address):
        yield Site(address, folders, process)


@contextmanager
def _process(words: Sequence[str], *, key: str | None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "distilora", "serve", *words, "--port", "0", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"DISTILORA_API_KEY": key} if key else {})}
    if key is None:
        environment.pop("DISTILORA_API_KEY", None)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            said = ""
            while not (found := re.search(r"http://\S+:\d+", said)):
                line = process.stdout.readline() if process.stdout else ""
                assert line, f"the server did not start: {said}"
                said += line
            yield process, found[0]
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def classify(page: Page, text: str, *, how: str = "Classify", model: str | None = None) -> None:
    """Write a comment, press a button of the first page and wait for the answer."""
    page.get_by_label("Comment", exact=True).fill(text)
    if model:
        page.get_by_label("Model").select_option(model)
    page.get_by_role("button", name=how, exact=True).click()
    expect(page.locator("#result .label").first).to_be_visible()
    expect(page.locator("#result[aria-busy]")).to_have_count(0)


def assert_nothing_was_made_of(page: Page, text: str) -> None:
    """The comment is on the page, as text alone: it made no element and ran nothing."""
    page.wait_for_timeout(50)
    assert text in page.locator("main").inner_text(), "the comment is not on the page"
    made = page.locator(
        "evil-tag, main script, main style, main img, main iframe, [onerror], [onload], [onfocus], [evil]"
    )
    expect(made).to_have_count(0)
    assert page.title() != "run", "a script of the comment ran"


def serious_faults(page: Page, *, only: Sequence[str] = ()) -> list[str]:
    """Return what axe-core calls serious or critical, by all of its usual rules or by these rules or tags alone.

    Those on colours are enough where a page was seen before in others, for nothing else of it has changed.
    """
    # The report's frame lets only the report's own script run, not axe's; its tests look into it.
    options: dict[str, object] = {"resultTypes": ["violations"], "iframes": False}
    if only:
        options["runOnly"] = list(only)
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found
        if fault["impact"] in {"serious", "critical"}
        for node in fault["nodes"]
    ]
