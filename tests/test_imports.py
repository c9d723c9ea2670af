"""The door stays light: what must work without the libraries for training does not even look for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets", "sklearn", "matplotlib", "pyarrow")
_TELL = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"


def _heavy_after(code: str) -> str:
    """Return which heavy libraries a fresh interpreter has loaded once it has run ``code``."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{_TELL}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "module",
    ["distilora", "distilora.errors", "distilora.config", "distilora.data.sources", "distilora.runs", "distilora.cli"],
)
def test_importing_a_light_part_loads_nothing_heavy(module: str) -> None:
    assert _heavy_after(f"import {module}") == ""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compare", "--help"]])
def test_asking_for_help_loads_nothing_heavy(arguments: list[str]) -> None:
    ask = f"""
import sys
from distilora.cli import main
sys.argv = {["distilora", *arguments]}
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert _heavy_after(ask) == ""


def test_reading_the_sample_and_an_experiment_loads_nothing_heavy() -> None:
    use = 'import distilora; distilora.read_comments("sample"); distilora.read_experiment(assignments=["seeds=1"])'
    assert _heavy_after(use) == ""


def test_the_check_itself_sees_a_heavy_library() -> None:
    assert "sklearn" in _heavy_after("import sklearn").split()
