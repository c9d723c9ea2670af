"""The first page in a real browser: one comment is classified, compared, explained and judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser_cases import HOSTILE, TEXT, Site, assert_nothing_was_made_of, classify, running, visiting
from distilora import read_comments
from distilora.bundles.predictions import Answer

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("served"), broken=True) as site:
        yield site


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with visiting(browser, site) as page:
        page.goto("/")
        yield page


def said(site: Site, model: str, text: str) -> Answer:
    return next(iter(site.bundle(model).predict([text])))


def text_on_which(site: Site, *, agree: bool) -> str:
    """Return a text on which the two models with the same classes agree, or disagree."""
    texts = [f"{first} {second}" for first in TEXT.split() for second in ("so rude", "lovely day", "good dog", "bad")]
    return next(text for text in texts if (said(site, "odd", text).label == said(site, "even", text).label) == agree)


def test_the_counter_follows_what_is_written_and_more_than_the_limit_is_not_sent(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    text = page.get_by_label("Comment", exact=True)
    text.press_sequentially("so 😀")
    expect(page.locator("#count")).to_have_text(f"4 of at most 20{NARROW_SPACE}000 characters")
    text.fill("x" * 20_001)
    expect(page.locator("#text-problem")).to_have_text("Too long by 1; shorten it, or send it in parts.")
    page.get_by_role("button", name="Classify").click()
    expect(text).to_have_attribute("aria-invalid", "true")
    expect(text).to_be_focused()
    assert "POST" not in sent
    text.fill("x" * 20_000)
    expect(page.locator("#text-problem")).to_be_empty()
    expect(page.locator("#count-live")).to_have_text("0 characters left")


def test_an_empty_comment_is_told_and_not_sent(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.get_by_label("Comment", exact=True).fill(" \n ")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#text-problem")).to_have_text("Paste or write a comment first; this one is empty.")
    expect(page.locator("#live")).to_have_text("Paste or write a comment first; this one is empty.")
    expect(page.get_by_label("Comment", exact=True)).to_be_focused()
    assert "POST" not in sent


def test_the_models_are_listed_with_score_and_size_best_first_and_the_broken_one_is_named(page: Page) -> None:
    options = page.get_by_label("Model").locator("option").all_inner_texts()
    assert [option.split(" · ")[:2] for option in options] == [
        ["odd", "macro-F1 0.900"],
        ["even", "macro-F1 0.800"],
        ["plain", "macro-F1 0.700"],
    ]
    assert all(re.fullmatch(r"[\d.]+ MB", option.split(" · ")[2]) for option in options)
    expect(page.get_by_text("One model cannot be used")).to_be_visible()
    expect(page.locator(".missing li")).to_contain_text("worn:")


@pytest.mark.parametrize("model", ["odd", "even", "plain"])
def test_the_chosen_model_gives_the_label_and_a_bar_for_every_class(page: Page, site: Site, model: str) -> None:
    classify(page, TEXT, model=model)
    expected = said(site, model, TEXT)
    expect(page.locator("#result .verdict .label")).to_have_text(expected.label)
    expect(page.locator("#result .model-line strong")).to_have_text(model)
    rows = page.locator("#result .bar-row")
    assert [name.removesuffix(" (the label)") for name in rows.locator("dt").all_text_contents()] == list(
        expected.probabilities
    )
    for row, (label, probability) in zip(rows.all(), expected.probabilities.items(), strict=True):
        assert float(row.locator(".bar-value").inner_text()) == pytest.approx(probability, abs=0.0006)
        track, fill = (row.locator(name).bounding_box() for name in (".bar-track", ".bar-fill"))
        assert track is not None
        assert fill is not None
        assert fill["width"] / track["width"] == pytest.approx(probability, abs=0.01), label


def test_the_threshold_is_drawn_where_it_is_and_the_flag_follows_it(page: Page, site: Site) -> None:
    classify(page, TEXT, model="even")
    track, line = (page.locator(f"#result .bar-row:has(line) .bar-{name}") for name in ("track", "threshold"))
    expect(page.locator("#result .bar-threshold-name")).to_have_text("threshold 0.350")
    expect(page.locator("#result .bar-row:has(line) dt")).to_contain_text("toxic")
    along, at = track.bounding_box(), line.bounding_box()
    assert along is not None
    assert at is not None
    assert (at["x"] + at["width"] / 2 - along["x"]) / along["width"] == pytest.approx(0.35, abs=0.01)
    page.get_by_text("More options", exact=True).click()
    for threshold, tag in (("1", "Not flagged"), ("0.001", "Flagged")):
        page.get_by_label("Threshold").fill(threshold)
        page.get_by_role("button", name="Classify").click()
        expect(page.locator("#result .verdict .tag")).to_have_text(tag)
    expect(page.locator("#result")).to_contain_text("at or above the threshold 0.001")


def test_a_model_without_positive_classes_has_no_threshold_to_set(page: Page) -> None:
    page.get_by_text("More options", exact=True).click()
    expect(page.get_by_label("Threshold")).to_be_visible()
    expect(page.locator("#threshold-hint")).to_contain_text("positive classes (toxic)")
    page.get_by_label("Model").select_option("plain")
    expect(page.get_by_label("Threshold")).to_be_hidden()
    classify(page, TEXT)
    expect(page.locator("#result")).to_contain_text("The likeliest of 3 classes")


def test_ctrl_and_enter_classify_and_the_answer_is_announced(page: Page, site: Site) -> None:
    text = page.get_by_label("Comment", exact=True)
    text.fill(TEXT)
    text.press("Control+Enter")
    label = said(site, "odd", TEXT).label
    expect(page.locator("#result .verdict .label")).to_have_text(label)
    expect(page.get_by_role("status").filter(has_text=f"{label}, probability")).to_be_attached()
    expect(text).to_be_focused()


def test_the_model_that_was_chosen_last_is_chosen_again(page: Page) -> None:
    page.get_by_label("Model").select_option("plain")
    page.reload()
    expect(page.get_by_label("Model")).to_have_value("plain")


def test_a_text_that_is_cut_says_so_and_can_be_read_whole(page: Page) -> None:
    classify(page, "you are so rude " * 10)
    notice = page.locator("#result .notice.warning")
    expect(notice).to_contain_text("42 tokens; only the first 16 counted")
    page.get_by_text("More options", exact=True).click()
    page.get_by_label("its most suspicious part counts").check()
    page.get_by_role("button", name="Classify").click()
    expect(notice).to_contain_text("the model read it in windows of 16")


@pytest.mark.parametrize("how", ["Classify", "Explain", "Compare all models"])
def test_a_comment_full_of_html_is_echoed_as_text_alone(page: Page, how: str) -> None:
    classify(page, HOSTILE, how=how)
    expect(page.locator("#result .echo")).to_be_visible()
    assert_nothing_was_made_of(page, "<script>document.title='run'</script>" if how != "Explain" else "evil")
    echoed = page.locator("#result .echo").evaluate(
        """echo => {
          for (const figure of echo.querySelectorAll(".visually-hidden")) figure.remove();
          return echo.textContent;
        }"""
    )
    assert echoed == HOSTILE


def test_all_models_are_compared_side_by_side_and_the_one_that_disagrees_is_marked(page: Page, site: Site) -> None:
    text = text_on_which(site, agree=False)
    classify(page, text, how="Compare all models")
    expect(page.get_by_role("heading", name="The models disagree")).to_be_visible()
    cards = page.locator(".compared-one")
    assert cards.locator("h3").all_inner_texts() == ["odd", "even", "plain"]
    labels = [said(site, model, text).label for model in ("odd", "even", "plain")]
    assert cards.locator(".label").all_inner_texts() == labels
    boxes = [box for card in cards.all() if (box := card.bounding_box())]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    for model, label in zip(("odd", "even", "plain"), labels, strict=True):
        expect(page.locator(".opinions li", has_text=label)).to_contain_text(model)


def test_the_model_that_differs_from_the_others_is_marked(page: Page, site: Site) -> None:
    classify(page, text_on_which(site, agree=True), how="Compare all models")
    expect(page.locator(".compared-one .tag", has_text="Differs")).to_have_count(1)
    expect(page.locator(".compared-one", has_text="Differs").locator("h3")).to_have_text("plain")


def test_words_are_coloured_by_their_influence_and_the_legend_says_what_colours_mean(page: Page, site: Site) -> None:
    text = "you are stupid people , thank you"
    classify(page, text, how="Explain", model="odd")
    colours: dict[str, str] = {}
    for word in page.locator("#result .influence .word").all():
        influence = word.get_attribute("title") or ""
        step = (word.get_attribute("class") or "").split()[1]
        colours[step] = word.evaluate("word => getComputedStyle(word).backgroundColor")
        assert ("against" in step) == influence.startswith("−")
        swatch = page.locator(f".legend .{step}").last
        assert swatch.evaluate("word => getComputedStyle(word).backgroundColor") == colours[step]
        line = word.evaluate("word => getComputedStyle(word).textDecorationStyle")
        assert line == ("dotted" if "against" in step else "solid")
    assert len(set(colours.values())) == len(colours) >= 2
    expect(page.locator(".legend")).to_contain_text("speaks for")
    expect(page.locator(".legend")).to_contain_text("speaks against it")
    page.get_by_text("The strongest words in figures").click()
    first = page.get_by_role("region", name="The strongest words").locator("tbody tr").first
    word = first.locator("th").inner_text()
    whole = said(site, "odd", text)
    without = said(site, "odd", " ".join(text.replace(word, "", 1).split()))
    change = whole.probabilities[whole.label] - without.probabilities[whole.label]
    assert float(first.locator("td").inner_text().replace("−", "-")) == pytest.approx(change, abs=0.002)


def test_judgements_are_stored_listed_filtered_exported_and_deleted(page: Page, site: Site, tmp_path: Path) -> None:
    right, wrong = "thank you , lovely people", "=you are an awful dog"
    classify(page, right, model="odd")
    page.get_by_role("button", name="Right", exact=True).click()
    expect(page.locator("#judgement")).to_contain_text("Your judgement is stored")
    expect(page.locator("#live")).to_have_text("Thank you. Your judgement is stored.")
    classify(page, wrong, model="plain")
    other = next(label for label in ("bad", "good", "neither") if label != said(site, "plain", wrong).label)
    page.get_by_role("button", name="Wrong", exact=True).click()
    expect(page.locator("#judgement")).not_to_contain_text("stored.")
    page.get_by_label("Wrong, it is").select_option(other)
    page.get_by_label("Note").fill("<b>because</b>")
    page.get_by_role("button", name="Wrong", exact=True).click()
    expect(page.locator("#judgement")).to_contain_text("Your judgement is stored")
    page.get_by_role("link", name="page of feedback").click()
    rows = page.locator(".judgements tbody tr")
    expect(rows.nth(0)).to_contain_text(wrong)
    expect(rows.nth(0).locator(".row-note")).to_have_text("Note: <b>because</b>")
    expect(rows.nth(0)).to_contain_text(f"{other}: the model was wrong")
    expect(rows.nth(1)).to_contain_text(f"{said(site, 'odd', right).label}: the model was right")
    assert page.locator(".counts dd").all_inner_texts() == ["2", "1", "1"]
    for kind, text in (("JSON lines", wrong), ("CSV", f"'{wrong}")):
        with page.expect_download() as download:
            page.get_by_role("link", name=kind).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        comments = read_comments(str(path))
        read = {each: comments.label_names[label] for each, label in zip(comments.texts, comments.labels, strict=True)}
        assert read == {text: other, right: said(site, "odd", right).label}
    page.get_by_label("Model").select_option("odd")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(right)
    rows.get_by_text("Delete", exact=True).click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("status").filter(has_text="is deleted")).to_be_visible()
    expect(rows).to_have_count(0)
    expect(page.locator("#model")).to_have_value("odd")
    page.goto("/feedback")
    expect(rows).to_have_count(1)


def test_a_comment_full_of_html_is_listed_as_text_alone(page: Page) -> None:
    classify(page, HOSTILE)
    page.get_by_label("Note").fill(HOSTILE)
    page.get_by_role("button", name="Wrong", exact=True).click()
    expect(page.locator("#judgement")).to_contain_text("Your judgement is stored")
    page.goto("/feedback")
    expect(page.locator(".judgements .row-note").first).to_contain_text(HOSTILE)
    assert_nothing_was_made_of(page, HOSTILE)
