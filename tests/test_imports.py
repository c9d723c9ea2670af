"""What needs only the base dependencies starts quickly and does not even look for the libraries for training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parent / "fixtures" / "bundle-format-1"
BEYOND_THE_BASE = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "sklearn",
    "matplotlib",
    "safetensors",
    "onnx",
    "scipy",
    "pandas",
    "pyarrow",
)
_TELL = f"import sys; print(*[name for name in {BEYOND_THE_BASE} if name in sys.modules])"
_CPU_LIMIT_S = 0.15
_TRIES = 5


def _loaded_after(code: str) -> list[str]:
    """Return which libraries beyond the base a fresh interpreter has loaded once it has run ``code``."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{_TELL}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def _cpu_seconds(command: list[str]) -> float:
    """Return the processor time, user and system, that one run of a command takes."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    "module",
    [
        "distilora",
        "distilora.errors",
        "distilora.config",
        "distilora.data.sources",
        "distilora.cli",
        "distilora.bundles.bundle",
        "distilora.scoring.scoring",
        "distilora.analysis.probes",
        "distilora.evaluation.baselines",
        "distilora.evaluation.score_intervals",
        "distilora.evaluation.significance",
        "distilora.evaluation.suites.identity",
        "distilora.assess.assessing",
        "distilora.bench.running",
        "distilora.serve.application",
        "distilora.serve.server",
    ],
)
def test_importing_a_light_part_loads_nothing_heavy(module: str) -> None:
    assert _loaded_after(f"import {module}") == []


def test_reading_runs_needs_safetensors_and_nothing_else_of_the_training() -> None:
    assert _loaded_after("import distilora.runs") == ["safetensors"]


def test_the_main_job_is_ready_before_scikit_learn_is_loaded() -> None:
    assert "sklearn" not in _loaded_after("import distilora.api")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compare", "--help"], ["score", "--help"]])
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
    assert _loaded_after(ask) == []


def test_reading_the_sample_and_an_experiment_loads_nothing_heavy() -> None:
    use = 'import distilora; distilora.read_comments("sample"); distilora.read_experiment(assignments=["seeds=1"])'
    assert _loaded_after(use) == []


def test_the_public_way_to_bundles_loads_nothing_heavy() -> None:
    assert _loaded_after("import distilora; distilora.open_bundle, distilora.score_file") == []


def test_the_check_itself_sees_a_heavy_library() -> None:
    assert "sklearn" in _loaded_after("import sklearn")


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


def test_using_a_bundle_leaves_nothing_in_the_users_home(tmp_path: Path) -> None:
    # ONNX Runtime would keep a number of this machine and a record of use there, to send them to its makers.
    command = [sys.executable, "-m", "distilora.cli", "predict", str(FIXTURE), "no"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run(command, env=environment, capture_output=True, check=True)
    assert list(tmp_path.rglob("*")) == []
