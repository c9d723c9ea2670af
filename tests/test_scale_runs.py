"""Many runs on Ray: the same bits as without it, also where a worker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from distilora.analysis.noise import measure_noise
from distilora.analysis.records import read_analysis
from distilora.config import ExperimentSettings
from distilora.errors import ConfigError, RunError, WorkerError
from distilora.evaluation.robustness.answers import read_answers
from distilora.experiment.materials import prepare
from distilora.experiment.runner import run_methods
from distilora.runs import RunRecord, checkpoints_folder, read_logits
from distilora.training.checkpoints import SEAL_FILE
from tiny_experiment import tiny_settings

# Found, not imported: Ray reads its environment when it is imported, and ray_session sets that first.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'distilora[ray]'")

METHODS = ("teacher", "odd", "odd-lora", "teacher+odd")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scale")


@pytest.fixture(scope="module")
def settings(home: Path) -> ExperimentSettings:
    return tiny_settings(home, epochs=2, run=METHODS, seeds=(0, 1), training={"dropout": 0.1})


@pytest.fixture(scope="module")
def in_one_process(home: Path, settings: ExperimentSettings) -> list[RunRecord]:
    return run_methods(prepare(settings), home / "one")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    from distilora.scale.session import ray_session

    with ray_session(address=None, processors=2) as module:
        yield module


def test_runs_on_ray_are_the_same_bits_in_the_same_order(
    home: Path, settings: ExperimentSettings, in_one_process: list[RunRecord], ray: Any
) -> None:
    from distilora.scale.runs import RayRuns

    told: list[str] = []
    assert_same(run_methods(prepare(settings), home / "many", engine=RayRuns(), tell=told.append), in_one_process)
    assert sum(line[0].isdigit() and "/8 " in line for line in told) == 8


def test_what_can_be_measured_of_a_run_alone_is_measured_beside_others(
    home: Path, settings: ExperimentSettings, in_one_process: list[RunRecord], ray: Any
) -> None:
    from distilora.scale.runs import RayRuns

    materials = prepare(settings)
    many = run_methods(materials, home / "many", engine=RayRuns())
    kept = {run.folder: read_answers(run.folder) for run in many if run.result.kind not in ("baseline", "ensemble")}
    assert None not in kept.values()
    told: list[str] = []
    for runs in (many, in_one_process):
        measure_noise(runs, materials, rows=settings.evidence.noise_rows, tell=told.append)
    assert len([line for line in told if "test texts" in line]) == 1 + len(kept)  # of the runs in one process alone
    for run, other in zip(many, in_one_process, strict=True):
        if run.folder in kept:
            np.testing.assert_equal(*(read_answers(folder).noisy for folder in (run.folder, other.folder)))
    teachers = [run for run in many if run.result.method == "teacher"]
    assert all(read_analysis(run.folder) is not None for run in teachers)


def test_what_a_run_refuses_is_told_as_without_ray(
    home: Path, settings: ExperimentSettings, in_one_process: list[RunRecord], ray: Any
) -> None:
    from distilora.scale.runs import RayRuns

    changed = {**settings.model_dump(exclude_unset=True), "distillation": {"temperature": 3.0}}
    with pytest.raises(RunError, match=r"was made with method\.distillation\.temperature = 2\.0, now it is 3\.0"):
        run_methods(prepare(ExperimentSettings.model_validate(changed)), home / "one", engine=RayRuns())


def test_a_run_whose_worker_is_killed_goes_on_and_ends_in_the_same_bits(
    home: Path, settings: ExperimentSettings, in_one_process: list[RunRecord], ray: Any
) -> None:
    from distilora.scale.runs import RayRuns

    folder = home / "killed"
    killed: list[int] = []
    killer = threading.Thread(target=kill_at_checkpoint, args=(folder, killed))
    killer.start()
    assert_same(run_methods(prepare(settings), folder, engine=RayRuns()), in_one_process)
    killer.join()
    assert killed


def kill_at_checkpoint(folder: Path, killed: list[int]) -> None:
    """Kill every process of this test that trains, as soon as the odd student with seed 1 has a whole checkpoint."""
    checkpoints = checkpoints_folder(folder, "odd", 1)
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob(f"checkpoint-*/{SEAL_FILE}")):
        if time.monotonic() > deadline:
            return
        time.sleep(0.001)
    for process in workers_on("make_alone", of=os.getpid()):
        with suppress(psutil.NoSuchProcess):
            process.kill()
            killed.append(process.pid)


def workers_on(task: str, *, of: int) -> Iterator[psutil.Process]:
    """Yield the processes of Ray that work on a task for this process, and for nobody else on this machine."""
    for process in psutil.Process(of).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "".join(process.cmdline()).startswith(f"ray::{task}"):
                yield process


def test_a_worker_that_always_vanishes_is_told_in_one_line(
    home: Path, settings: ExperimentSettings, in_one_process: list[RunRecord], ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distilora.scale import runs

    # Defined here, so that it travels to the worker by value: this file is no module there.
    monkeypatch.setattr(runs, "make_alone", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    never = ExperimentSettings.model_validate({**settings.model_dump(exclude_unset=True), "resources": {"retries": 0}})
    with pytest.raises(WorkerError, match=r"teacher seed \d: its process vanished more often than resources\.retries"):
        run_methods(prepare(never), home / "vanished", engine=runs.RayRuns())


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ({"cpus": 3}, "resources.cpus: 3 for each run, and Ray has 2 here; give less, or a cluster with --ray-address"),
        ({"gpus": 64}, r"resources.gpus: 64.0 for each run, and Ray has \d+ here"),
        ({"memory_mib": 10**9}, r"resources.memory_mib: 1000000000 for each run, and Ray has \d+ here"),
    ],
)
def test_more_than_ray_has_here_is_refused_at_once(
    home: Path, settings: ExperimentSettings, ray: Any, wanted: dict[str, Any], line: str
) -> None:
    from distilora.scale.runs import RayRuns

    greedy = ExperimentSettings.model_validate({**settings.model_dump(exclude_unset=True), "resources": wanted})
    with pytest.raises(ConfigError, match=line):
        run_methods(prepare(greedy), home / "greedy", engine=RayRuns())


SESSION = """
import os, time
from distilora.scale.session import ray_session
with ray_session(address=None, processors=1) as ray:
    end = ray.shutdown
    def shutdown():  # what Ray says where it is slow to end, and what somebody else says
        os.write(2, b"[2026-11-30 00:40:58,726 E 14234 14583] task_manager.cc:1545: Failed to push error to driver\\n")
        os.write(2, b"a line of another thread\\n")
        end()
    ray.shutdown = shutdown
    print(ray._private.worker._global_node.get_temp_dir_path(), flush=True)
    ray.wait([ray.remote(lambda: time.sleep(60)).remote()])
"""


def test_sigterm_ends_ray_and_all_that_it_started_without_a_word_of_ray() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SESSION], stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        assert folder.name.startswith("distilora-ray-")
        assert folder.is_dir()
        deadline = time.monotonic() + 60
        while not list(workers_on("<lambda>", of=child.pid)):  # then the child waits for Ray
            assert time.monotonic() < deadline
            time.sleep(0.05)
        started = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=30) == ("", "a line of another thread\n")
    assert child.returncode == 128 + signal.SIGTERM
    assert started
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert not folder.exists()


def assert_same(runs: list[RunRecord], others: list[RunRecord]) -> None:
    assert [(run.result.method, run.result.seed) for run in runs] == [
        (run.result.method, run.result.seed) for run in others
    ]
    measured = {"training_seconds", "training_memory_mib"}
    for run, other in zip(runs, others, strict=True):
        assert run.result.model_dump(exclude=measured) == other.result.model_dump(exclude=measured)
        assert run.history == other.history
        np.testing.assert_equal(read_logits(run.folder), read_logits(other.folder))
