"""Killed while it measures, a comparison goes on and ends as if nothing had happened, what is timed apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from distilora.api import compare
from tiny_experiment import tiny_settings

# Forks a process for each of some words, that is killed once it has told a line with them; then one that may finish.
WORKER = """
import os, signal, sys
from pathlib import Path
from distilora.api import compare
from distilora.config import ExperimentSettings
settings, folder = ExperimentSettings.model_validate_json(sys.stdin.read()), Path(sys.argv[1])
for words in [*sys.argv[2:], None]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        compare(settings, folder, tell=lambda line: os.write(writing, line.replace("\\n", " ").encode() + b"\\n"))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            if words and line.startswith(words):
                os.kill(child, signal.SIGKILL)
                break
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
MEASURED = frozenset(
    [
        "p50_ms",
        "p95_ms",
        "texts_per_s",
        "texts_per_s_low",
        "texts_per_s_high",
        "memory_peak_mib",
        "load_seconds",
        "busy_processors",
        "latency_ms",
        "slow_latency_ms",
        "time",  # of the teacher's
        "training_seconds",
        "training_memory_mib",
    ]
)
EVIDENCE = ("costs.json", "suites/*.json", "*/seed-*/noise.safetensors", "*/seed-*/layers.json", "comparison.json")


def test_killed_three_times_while_it_measures_a_comparison_ends_the_same(tmp_path: Path) -> None:
    settings = tiny_settings(
        tmp_path,
        epochs=1,
        run=("teacher", "odd"),
        data={"source": str(tmp_path / "comments.csv"), "positive": ["toxic"]},
        suites={"identity": "sample-identities"},
        evidence={"latency_rounds": 1},
    )
    told: list[str] = []
    folder = tmp_path / "out"
    compare(settings, folder, tell=told.append)
    undisturbed = unmeasured(folder)
    for pattern in (*EVIDENCE, "report.*", "test-rows.jsonl"):
        for path in folder.glob(pattern):
            path.unlink()
    draw = np.random.default_rng(0)
    stages = (("noise: ", "1/2 noise", "2/2 noise"), ("layers of ",), ("identity: ", "costs: "))
    kills = [draw.choice([line for line in told if line.startswith(stage)]) for stage in stages]
    ended = subprocess.run(
        [sys.executable, "-c", WORKER, str(folder), *(" ".join(line.split()[:3]) for line in kills)],
        input=settings.model_dump_json(exclude_unset=True),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines() == [*["ended with -9"] * 3, "ended with 0"]
    assert unmeasured(folder) == undisturbed
    assert list(folder.rglob("*.partial")) == []


def unmeasured(folder: Path) -> Any:
    """Return the comparison of an experiment without times and memory."""
    return without(json.loads((folder / "comparison.json").read_text()))


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without(inner) for key, inner in value.items() if key not in MEASURED}
    return [without(inner) for inner in value] if isinstance(value, list) else value
