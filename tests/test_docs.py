"""What the documentation says must hold."""

import json
import re
import runpy
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from typer.main import get_command

from distilora.cli.app import app
from distilora.data.sources import read_comments
from serving_cases import ADDRESS, serving

ROOT = Path(__file__).parent.parent
SERVING = ROOT / "docs" / "serving.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LABELS = ("not toxic", "toxic")
"""Of the models that ``make demo`` trains."""


def _blocks(page: Path, *languages: str) -> list[str]:
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def _shell_lines() -> list[str]:
    blocks = [block for page in PAGES for block in _blocks(page, "sh", "bash")]
    return "\n".join(blocks).replace("\\\n", " ").splitlines()


def _commands() -> list[str]:
    return [line for line in _shell_lines() if line.strip().startswith("distilora ")]


def _curls() -> list[str]:
    return [line for line in _shell_lines() if line.startswith("curl ")]


def test_the_settings_page_is_what_the_settings_say():
    page = runpy.run_path(str(ROOT / "scripts" / "settings_page.py"))["page"]()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page


def test_the_readme_shows_commands():
    assert len(_commands()) >= 4


@pytest.mark.parametrize("line", _commands())
def test_every_command_in_the_documentation_is_understood(line):
    words = shlex.split(line, comments=True)[1:]
    group = get_command(app)
    name, command, rest = group.resolve_command(group.make_context("distilora", list(words)), words)
    command.make_context(name, rest)


def test_no_link_of_the_documentation_leads_nowhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("demo")
    with serving(folder, bundles={"odd": {"labels": LABELS}, "teacher": {"labels": LABELS, "seed": 1}}) as client:
        for number in range(7):
            client.post("/v1/feedback", json={"text": f"no {number}", "label": "toxic"})
        yield client


def _curl() -> ArgumentParser:
    parser = ArgumentParser(add_help=False)
    for repeated in ("-H", "-F"):
        parser.add_argument(repeated, action="append", default=[])
    for option in ("-d", "-X", "-o"):
        parser.add_argument(option)
    parser.add_argument("-s", action="store_true")
    parser.add_argument("address")
    return parser


def _sent(line: str, client: TestClient) -> Response:
    """Return the answer to what curl would send."""
    given = _curl().parse_args(shlex.split(line)[1:])
    assert given.address.startswith(ADDRESS)
    form = dict(field.split("=", maxsplit=1) for field in given.F)
    return client.request(
        given.X or ("POST" if given.d or given.F else "GET"),
        given.address,
        headers=dict(header.split(": ", maxsplit=1) for header in given.H),
        content=given.d,
        files={"file": ("comments.csv", b"comment\nwhat a lovely day\n")} if form.pop("file", None) else None,
        data=form or None,
    )


@pytest.mark.parametrize("line", _curls())
def test_every_request_in_the_documentation_is_answered(line: str, demo: TestClient):
    answer = _sent(line, demo)
    assert answer.status_code < 300, answer.text


def test_the_answer_that_the_page_on_serving_shows_has_the_form_of_the_real_one(demo: TestClient):
    (request,) = [line for line in _curls() if '"threshold"' in line]
    (shown,) = map(json.loads, _blocks(SERVING, "json"))
    answer = _sent(request, demo).json()
    assert _form(answer) == _form(shown)
    assert answer["threshold"] == shown["threshold"]


def _form(answer: object) -> object:
    """Return the names and types of an answer."""
    if isinstance(answer, dict):
        return {name: _form(value) for name, value in answer.items()}
    return [_form(value) for value in answer] if isinstance(answer, list) else type(answer)


def test_feedback_is_put_together_with_older_comments_as_the_page_on_serving_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo: TestClient
):
    monkeypatch.chdir(tmp_path)
    comments = "comment,verdict\r\nno 3,not toxic\r\nwhat a day,not toxic\r\n"
    Path("comments.csv").write_text(comments, encoding="utf-8-sig", newline="")
    Path("feedback.jsonl").write_bytes(demo.get("/v1/feedback.jsonl").content)
    (code,) = _blocks(SERVING, "python")
    exec(code, {})  # noqa: S102 - our own page
    together = read_comments("next.jsonl", text="text", label="label")
    labels = {text: LABELS[index] for text, index in zip(together.texts, together.labels, strict=True)}
    assert together.label_names == LABELS
    assert (labels["no 3"], labels["what a day"]) == ("toxic", "not toxic")
    assert {f"no {number}" for number in range(6)} <= set(labels)
