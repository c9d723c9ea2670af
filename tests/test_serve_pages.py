"""The pages: whole, safe, and usable without JavaScript."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from distilora.report import compare_runs, write_report
from distilora.serve import answers
from distilora.serve.page.influence import pieces, step_of
from distilora.serve.page.prose import blocks, parts
from distilora.serve.page.results import opinions
from distilora.serve.problems import KINDS
from distilora.serve.records import CompareRequest, WordInfluence
from report_cases import usual_runs
from serving_cases import client, serving

TEXT = "you are all idiots"
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \"' onfocus=alert(3) </textarea></option> {{ 7 * 7 }} &lt;"
)
ENDS = [
    "</textarea>",
    "</option>",
    "</script>",
    "</svg>",
    "</title>",
    "-->",
    "]]>",
    '"',
    "'",
    ">",
    "/>",
    " ",
    "&quot;",
    "{{",
    "%}",
]
EVIL = ["<evil>", "<evil ", " evil=1 ", "<svg evil>", "<!--evil", "evil", "&lt;evil&gt;", "<script evil", "&#60;evil"]
PAGES = ("/", "/files", "/feedback", "/report", "/api")
VOID = {"meta", "link", "input", "img", "br", "hr", "source", "rect", "line", "path", "use", "circle"}


class Page(HTMLParser):
    """A page's elements with their attributes, and the text of each element that has an id."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values))
        if tag not in VOID:
            self._open.append((tag, values.get("id", "")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [a for found, a in self.elements if found == tag and wanted.items() <= a.items()]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("served")) as client:
        client.headers["Accept"] = "text/html"
        yield client


def ask(browser: TestClient, text: str = TEXT, **fields: str) -> Page:
    return Page(browser.post("/", data={"text": text, "ask": "predict", **fields}).text)


def assert_sound(page: Page) -> None:
    """One main, one h1, no two equal ids, nothing inline, and every file and every label's field is there."""
    static = resources.files("distilora.serve.page").joinpath("static")
    ids = Counter(values["id"] for _, values in page.elements if "id" in values)
    assert [name for name, count in ids.items() if count > 1] == []
    assert len(page.all("main")) == len(page.all("h1")) == 1
    for tag, values in page.elements:
        assert tag != "style"
        assert not [name for name in values if name == "style" or name.startswith("on")]
        assert tag != "script" or values["src"].startswith("/static/")
        for name in ("src", "href"):
            address = urlsplit(values.get(name, ""))
            assert address.scheme in {"", "https"}, values
            if address.path.startswith("/static/"):
                assert static.joinpath(address.path.removeprefix("/static/")).is_file()
        for name in ("for", "aria-labelledby", "aria-describedby"):
            assert set(values.get(name, "").split()) <= set(ids), values


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_and_holds_no_script_or_style_of_its_own(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    page = Page(answer.text)
    assert answer.status_code == 200
    assert_sound(page)
    assert page.all("a", href=path)[0] is not None
    assert [a["href"] for a in page.all("a") if a.get("aria-current") == "page"] == [path]


@pytest.mark.parametrize("wanted", ["predict", "explain", "compare"])
def test_every_answer_is_whole_and_holds_no_script_or_style_of_its_own(browser: TestClient, wanted: str) -> None:
    assert_sound(ask(browser, HOSTILE, ask=wanted))


def test_an_answer_shows_label_meaning_every_class_and_the_threshold(browser: TestClient) -> None:
    page = ask(browser, model="even", threshold="0,01")
    said = page.texts["result"]
    assert "toxic" in said
    assert "civil" in said
    assert "at or above the threshold 0.010" in said
    assert "Flagged" in said
    assert [line["x1"] for line in page.all("line")] == ["1%"]
    assert len(page.all("rect", **{"class": "bar-track"})) == 2
    assert page.all("option", value="even")[0].get("selected") == ""
    assert TEXT in said


def test_an_answer_without_positive_classes_has_neither_flag_nor_threshold(browser: TestClient) -> None:
    page = ask(browser, model="plain")
    assert "lagged" not in page.texts["result"]
    assert page.all("line") == []
    assert "The likeliest of 3 classes" in page.texts["result"]


def test_a_text_that_is_too_long_for_the_model_says_how_much_counted(browser: TestClient) -> None:
    page = ask(browser, "you are so rude " * 10)
    assert "42 tokens; only the first 16 counted" in " ".join(page.texts["result"].split())


def test_comparing_shows_every_model_and_names_those_that_disagree(browser: TestClient) -> None:
    served = browser.app.state.served
    texts = [f"{first} {second}" for first in TEXT.split() for second in ("so rude", "lovely day", "good dog", "bad")]
    for text in texts:
        answer = asyncio.run(answers.compare(served, CompareRequest(text=text)))
        said = " ".join(ask(browser, text, ask="compare").texts["result"].split())
        assert all(f"{opinion.label}" in said for opinion in opinions(answer))
        assert (
            all(f"{', '.join(opinion.models)}: {opinion.label}" in said for opinion in opinions(answer)) != answer.agree
        )
        assert ("The models disagree" in said) != answer.agree


def test_explaining_colours_words_and_says_how_much_each_moved_the_label(browser: TestClient) -> None:
    page = ask(browser, ask="explain", model="odd")
    marks = [mark for mark in page.all("mark") if "title" in mark]
    assert marks
    assert all(mark["class"].startswith("word step-") for mark in marks)
    assert all(mark["title"][0] in "+−" for mark in marks)
    assert "The strongest words in figures" in page.texts["result"]


def test_the_pieces_of_a_text_are_the_text_and_strong_influence_has_a_strong_colour() -> None:
    words = [
        WordInfluence(word="so", start=0, end=2, influence=-0.01),
        WordInfluence(word="😀", start=3, end=4, influence=1),
    ]
    found = pieces("so 😀!", words)
    assert "".join(piece.text for piece in found) == "so 😀!"
    assert [piece.step for piece in found] == [-1, 0, 5, 0]
    assert [step_of(-influence) for influence in (0, 0.005, 0.02, 0.05, 0.15, 0.4, 1)] == [0, -1, -2, -3, -4, -5, -5]


def test_an_empty_comment_is_refused_in_place(browser: TestClient) -> None:
    answer = browser.post("/", data={"text": " \r\n"})
    page = Page(answer.text)
    assert answer.status_code == 422
    assert "empty" in page.texts["text-problem"]
    assert page.all("textarea", **{"aria-invalid": "true"})


def test_a_threshold_that_is_none_is_refused_in_place_and_the_text_is_kept(browser: TestClient) -> None:
    answer = browser.post("/", data={"text": TEXT, "threshold": "nan"})
    page = Page(answer.text)
    assert answer.status_code == 422
    assert "from 0 to 1" in page.texts["threshold-problem"]
    assert page.texts["text"].strip() == TEXT
    assert "open" in page.all("details", **{"class": "more"})[0]


def test_a_text_above_the_limit_is_refused_in_place(browser: TestClient) -> None:
    answer = browser.post("/", data={"text": "x" * 20_001})
    assert answer.status_code == 422
    assert "20,000" in Page(answer.text).texts["text-problem"]


def test_an_unknown_model_is_a_message_on_the_form(browser: TestClient) -> None:
    answer = browser.post("/", data={"text": TEXT, "model": "odder"})
    assert answer.status_code == 404
    assert KINDS["not-found"].title in Page(answer.text).texts["message"]


def test_line_breaks_come_back_as_they_were_and_the_first_one_is_not_lost(browser: TestClient) -> None:
    answer = browser.post("/", data={"text": "\r\nyou are\r\nrude"})
    assert ">\n\nyou are\nrude</textarea>" in answer.text
    assert 'name="text" value="\nyou are\nrude"' in answer.text


@pytest.mark.parametrize("wanted", ["predict", "explain", "compare"])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ENDS + EVIL), min_size=1, max_size=10).map("".join).filter(str.strip))
def test_no_element_and_no_attribute_comes_from_a_comment(browser: TestClient, wanted: str, text: str) -> None:
    page = ask(browser, text, ask=wanted)
    names = {name for tag, values in page.elements for name in (tag, *values)}
    assert not [name for name in names if "evil" in name]
    assert page.texts["text"] == f"\n{text}"
    assert_sound(page)


def test_a_judgement_is_stored_once_shown_and_deleted_without_javascript(browser: TestClient) -> None:
    page = ask(browser, HOSTILE, model="even")
    right = next(a for a in page.all("input", name="label"))
    fields = {"text": HOSTILE, "model": "even", "threshold": "", "label": right["value"], "note": HOSTILE[:50]}
    sent = browser.post("/feedback", data=fields, follow_redirects=False)
    assert sent.status_code == 303
    listed = browser.get(sent.headers["location"])
    shown = Page(listed.text)
    assert_sound(shown)
    assert "Thank you" in shown.texts["judgement"]
    assert "<script>alert" not in listed.text
    row = browser.app.state.served.feedback.rows()[0]
    assert (row.text, row.right, row.note) == (HOSTILE, True, HOSTILE[:50])
    gone = browser.post(f"/feedback/{row.id}/delete", data={"model": "even"}, follow_redirects=False)
    assert gone.headers["location"] == f"/feedback?removed={row.id}&model=even"
    assert row.id not in [kept.id for kept in browser.app.state.served.feedback.rows()]


@pytest.mark.parametrize("address", ["/feedback/999999/delete", f"/feedback/{2**70}/delete", "/feedback/0/delete"])
def test_deleting_what_is_not_there_is_told_as_a_page(browser: TestClient, address: str) -> None:
    answer = browser.post(address)
    assert answer.status_code in {404, 422}
    assert_sound(Page(answer.text))


def test_feedback_is_paged_and_filtered_by_model(browser: TestClient) -> None:
    for number in range(27):
        browser.post("/feedback", data={"text": f"number {number}.", "model": "odd", "label": "civil"})
    browser.post("/feedback", data={"text": "another", "model": "plain", "label": "good"})
    first = Page(browser.get("/feedback?model=odd").text)
    older = next(a["href"] for a in first.all("a", rel="next"))
    second = browser.get(older)
    assert "model=odd" in older
    assert "number 26." in browser.get("/feedback?model=odd").text
    assert "another" not in browser.get("/feedback?model=odd").text
    assert "number 1." in second.text
    assert not Page(second.text).all("a", rel="next")
    assert "/v1/feedback.csv?model=odd" in second.text


def test_a_judgement_that_is_refused_says_why_and_stores_nothing(browser: TestClient) -> None:
    before = browser.app.state.served.feedback.counts()
    for fields in ({"label": "purple"}, {"label": "civil", "note": "x" * 501}, {"label": "civil", "threshold": "2"}):
        answer = browser.post("/feedback", data={"text": TEXT, "model": "odd", **fields})
        assert answer.status_code == 422
        assert Page(answer.text).all("div", role="alert")
    assert browser.app.state.served.feedback.counts() == before


def test_without_feedback_the_pages_say_how_to_turn_it_on(tmp_path: Path) -> None:
    with serving(tmp_path, feedback=False) as client:
        assert "--feedback" in Page(client.post("/", data={"text": TEXT}).text).texts["judgement"]
        assert "Feedback is off" in client.get("/feedback").text
        assert client.post("/feedback", data={"text": TEXT, "label": "civil"}).status_code == 503


def test_a_model_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with serving(tmp_path, broken=("worn",)) as client:
        assert "worn" in Page(client.get("/").text).texts["main"]


def test_names_of_labels_are_text_and_of_many_classes_the_likeliest_have_bars(tmp_path: Path) -> None:
    labels = ("<b>evil</b>", '"evil=1', *(f"class {number}" for number in range(20)))
    with serving(tmp_path, bundles={"wide": {"labels": labels, "positive": labels[:2]}}) as asking:
        for wanted in ("predict", "explain"):
            page = ask(asking, TEXT, ask=wanted)
            assert_sound(page)
            assert not [name for tag, values in page.elements for name in (tag, *values) if "evil" in name]
            assert len(page.all("rect", **{"class": "bar-track"})) == 13
            assert '<b>evil</b> + "evil=1' in page.texts["result"]
            assert "All 22 classes" in page.texts["result"]


def test_the_report_is_framed_and_its_policy_lets_it_run_its_own_script_alone(
    browser: TestClient, tmp_path: Path
) -> None:
    experiment = tmp_path / "runs & März"
    runs = usual_runs()
    write_report(compare_runs(runs), runs, experiment)
    with reporting(browser, {"runs & März": experiment, "other": tmp_path / "gone"}) as asking:
        page = Page(asking.get("/report").text)
        frame = page.all("iframe")[0]
        assert_sound(page)
        assert frame["sandbox"] == "allow-scripts allow-downloads"
        assert [option.get("selected") for option in page.all("option")] == ["", None]
        for path in ("report.html", "odd/report.html", "even/report.html"):
            document = asking.get(frame["src"].removesuffix("report.html") + path)
            assert document.text == (experiment / path).read_text(encoding="utf-8")
            policy = document.headers["content-security-policy"].split("; ")
            assert {"sandbox allow-scripts allow-downloads", "default-src 'none'", "frame-ancestors 'self'"} <= {
                *policy
            }
            (script,) = (rule for rule in policy if rule.startswith("script-src"))
            assert script in document.text.partition("</head>")[0]
            assert script.removeprefix("script-src ") == f"'{hash_of_the_script(document.text)}'"
        assert asking.get("/report/document/open/other/report.html").status_code == 503
        assert asking.get("/report?name=none").status_code == 404


def hash_of_the_script(page: str) -> str:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


@contextmanager
def reporting(browser: TestClient, reports: dict[str, Path]) -> Iterator[TestClient]:
    served = browser.app.state.served
    with client(replace(served, catalog=replace(served.catalog, reports=reports))) as asking:
        yield asking


def test_of_an_experiment_only_its_report_and_lists_of_rows_are_sent(browser: TestClient, tmp_path: Path) -> None:
    experiment = tmp_path / "trial"
    there = ("report.html", "odd/report.html", "odd/disagreements.csv", "label-errors.csv")
    for path in (*there, "results.csv", "odd/result.json", "odd/seed-0/report.html", ".git/report.html"):
        (experiment / path).parent.mkdir(parents=True, exist_ok=True)
        (experiment / path).write_text("row,text\r\n", encoding="utf-8")
    (tmp_path / "report.html").write_text("not to be sent", encoding="utf-8")
    with reporting(browser, {"trial": experiment}) as asking:
        for path in there:
            assert asking.get(f"/report/document/open/trial/{path}").status_code == 200
        for path in (
            *("results.csv", "odd/result.json", "odd/seed-0/report.html", ".git/report.html", "odd//report.html", ""),
            *("../report.html", "..%2freport.html", "%2e%2e/report.html", "odd/../../report.html", "/report.html"),
            *("odd%00/report.html", "report.html/", "..%5creport.html"),
        ):
            answer = asking.get(f"/report/document/open/trial/{path}")
            assert answer.status_code == 404, path
            assert "not to be sent" not in answer.text
        sent = asking.get("/report/document/open/trial/odd/disagreements.csv")
        assert (sent.headers["content-type"], sent.headers["content-disposition"]) == (
            "text/csv; charset=utf-8",
            "attachment",
        )
        assert asking.get("/report/document/open/none/report.html").status_code == 404


def test_the_page_of_the_api_shows_every_operation_and_explains_every_problem(browser: TestClient) -> None:
    page = Page(browser.get("/api").text)
    document = browser.get("/openapi.json").json()
    ids = {values.get("id") for _, values in page.elements}
    operations = [said for methods in document["paths"].values() for said in methods.values()]
    assert {said["operationId"] for said in operations} | set(KINDS) <= ids
    assert "curl -sS http://127.0.0.1:8000/v1/predict -H 'Content-Type: application/json' -d" in page.texts["main"]


def test_descriptions_become_text_lists_and_links_to_the_web_alone() -> None:
    assert [len(block.items) for block in blocks("One\nline.\n\n* a\n  b\n* c\n")] == [1, 2]
    found = parts("**So** `x` [a](https://example.org) [b](javascript:alert)")
    assert [part.kind for part in found] == ["strong", "text", "code", "text", "link", "text", "text"]
