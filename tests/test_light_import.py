"""What runs where only the base dependencies are installed: quick to start, and nothing of training is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NOT_IN_THE_BASE = (
    "torch",
    "transformers",
    "sklearn",
    "matplotlib",
    "datasets",
    "accelerate",
    "peft",
    "safetensors",
    "onnx",
    "scipy",
    "pandas",
    "pyarrow",
)
_CPU_LIMIT_S = 0.15
_TRIES = 5


def _loaded_after(code: str) -> list[str]:
    """Return which libraries beyond the base a fresh interpreter has loaded once it has run ``code``."""
    tell = f"import sys\nprint(*[name for name in {NOT_IN_THE_BASE} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def _cpu_seconds(command: list[str]) -> float:
    """Return the processor time, user and system, that one run of a command takes."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("module", ["distilora.bundles.bundle", "distilora.scoring.scoring"])
def test_opening_and_scoring_bundles_needs_only_the_base_dependencies(module: str) -> None:
    assert _loaded_after(f"import {module}") == []


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_command_line_answers_with_only_the_base_dependencies(option: str) -> None:
    ask = f"""
import sys
from distilora.cli import main
sys.argv = ["distilora", "{option}"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert _loaded_after(ask) == []


def test_version_is_told_in_under_0_15_s_of_processor_time() -> None:
    # The best of several tries: a busy machine makes a run slower, never faster.
    command = [sys.executable, "-m", "distilora.cli", "--version"]
    assert min(_cpu_seconds(command) for _ in range(_TRIES)) < _CPU_LIMIT_S


@pytest.mark.parametrize("arguments", [["--version"], ["--verbose", "--version"]])
def test_version_is_told_alike_with_and_without_other_options(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "distilora.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    name, _, number = done.stdout.strip().partition(" ")
    assert (name, number[:1].isdigit(), done.stderr) == ("distilora", True, "")
