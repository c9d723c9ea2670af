"""What the documentation says must hold."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from distilora.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _commands() -> list[str]:
    blocks = [block for page in PAGES for block in re.findall(r"```(?:sh|bash)\n(.*?)```", page.read_text(), re.DOTALL)]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip().startswith("distilora ")]


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
