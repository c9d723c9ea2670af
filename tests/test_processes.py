"""Several processes train one model as one process would; a kill of one of them costs no more than time."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from distilora.config import ExperimentSettings
from distilora.config.toml import to_toml
from distilora.errors import ConfigError, DistiloraError, MissingExtraError, VoidRunError
from distilora.experiment.runner import run_experiment
from distilora.experiment.together import check_together, steps_told
from distilora.runs import checkpoints_folder, read_logits, read_run, run_folder
from distilora.training.checkpoints import SEAL_FILE
from tiny_experiment import tiny_settings

LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
QUICK = {"costs": False, "noise_rows": 0, "layers": False}
# Small steps: what has no gradient but rounding errors, such as the bias of keys, Adam moves at the full rate all the
# same, and scores before softmax tell of it.
INSIDE = {
    "like": "odd-tinybert",
    "distillation": {"relations": 1.0, "cosine_hidden": 1.0, "cosine_logits": 0.0},
    "training": {"learning_rate": 2e-4},
}
METHODS = ("teacher", "odd", "odd-inside")
# The main process puts a run's folder in its place as soon as it is complete, whatever the others are at.
WATCHED = """
import os, runpy, sys
def refuse(event, given):
    if event in ("open", "os.scandir", "os.listdir") and ".partial" in str(given[0]):
        raise RuntimeError(f"{event} {given[0]}: that is for the main process alone")
if os.environ["RANK"] != "0":
    sys.addaudithook(refuse)
runpy.run_module("distilora", run_name="__main__")
"""


def started(
    experiment: Path, out: Path, *, launcher: tuple[str, ...] = LAUNCHER, program: tuple[str, ...] = ("-m", "distilora")
) -> subprocess.Popen[str]:
    """Start a comparison on two processes, with gloo, as no GPU is seen."""
    return subprocess.Popen(
        [*launcher, *program, "compare", str(experiment), "--out", str(out), "--no-export"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def environment() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def finished(launched: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what a launch said on both streams, once it has ended well."""
    said = launched.communicate(timeout=500)
    assert launched.returncode == 0, said[1]
    return said


def workers_of(launched: subprocess.Popen[str]) -> list[int]:
    """Return the ids of the processes that a launcher has started."""
    children = Path(f"/proc/{launched.pid}/task/{launched.pid}/children")
    return [int(number) for number in children.read_text().split()]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ExperimentSettings:
    # Seven divides neither a batch evenly nor the rows; classes are weighted, as they are by default.
    folder = tmp_path_factory.mktemp("data")
    return tiny_settings(
        folder,
        run=METHODS,
        data={"source": str(folder / "comments.csv"), "train_samples": 64},
        training={"batch_size": 7, "epochs": 2},
        methods={"odd": {"training": {"epochs": 4}}, "odd-inside": INSIDE},
        evidence=QUICK,
    )


@pytest.fixture(scope="module")
def experiment(settings: ExperimentSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "experiment.toml"
    path.write_text(to_toml(settings.model_dump(mode="json", exclude_unset=True)))
    return path


@pytest.fixture(scope="module")
def shared(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of an undisturbed comparison on two processes, and what they printed.

    It fails where another than the main process looks into the folder of a run that is being made.
    """
    folder, watched = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("watched") / "watched.py"
    watched.write_text(WATCHED)
    return folder, finished(started(experiment, folder, program=(str(watched),)))[0]


def test_two_processes_log_the_losses_of_one(
    settings: ExperimentSettings, shared: tuple[Path, str], tmp_path: Path
) -> None:
    run_experiment(settings, tmp_path)
    for method in METHODS:
        one, two = (read_run(run_folder(folder, method, 0)) for folder in (tmp_path, shared[0]))
        assert [entry.step for entry in one.history] == [entry.step for entry in two.history]
        for first, second in zip(one.history, two.history, strict=True):
            assert second.losses == pytest.approx(first.losses, abs=1e-4)
        for part in ("validation", "test"):
            np.testing.assert_allclose(*(read_logits(run.folder)[part] for run in (one, two)), atol=1e-3)


def test_one_of_them_tells_and_the_effective_batch_is_told(shared: tuple[Path, str]) -> None:
    folder, said = shared
    assert said.count("macro-F1   95 % interval") == 1
    assert said.count("2/3 odd seed 0") == 1
    assert said.count("2 processes: 7 comments a step, 3 or 4 a process; learning rates as for one process") == 1
    assert (folder / "comparison.json").is_file()
    assert "2 processes" in read_run(run_folder(folder, "odd", 0)).result.machine


def test_one_of_them_killed_it_goes_on_with_the_other_launcher_and_ends_the_same(
    experiment: Path, shared: tuple[Path, str], tmp_path: Path
) -> None:
    launched = started(experiment, tmp_path)
    sealed = checkpoints_folder(tmp_path, "odd", 0) / "checkpoint-20" / SEAL_FILE
    deadline = time.monotonic() + 400
    while not sealed.exists():
        assert launched.poll() is None, launched.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    os.kill(workers_of(launched)[-1], signal.SIGKILL)
    launched.communicate(timeout=100)
    assert launched.returncode != 0
    assert not run_folder(tmp_path, "odd", 0).exists()
    finished(started(experiment, tmp_path, launcher=ACCELERATE))
    for method in METHODS:
        one, two = (read_run(run_folder(folder, method, 0)) for folder in (shared[0], tmp_path))
        assert one.history == two.history
        np.testing.assert_equal(*(read_logits(run.folder) for run in (one, two)))


WORKER = """
import sys
from distilora.errors import ConfigError, DistiloraError, VoidRunError
from distilora.training.processes import by_main, from_all, main_first, on_all, processes
here = processes()
def fails(error, *ranks):
    if here.rank in ranks:
        raise error
    return here.rank
def told(call, function):
    try:
        return call(function)
    except DistiloraError as error:
        return [type(error).__name__, str(error), error.is_echo]
    except ZeroDivisionError:
        return "its own bug"
answers = [
    by_main(lambda: here.rank),
    on_all(lambda: here.rank),
    main_first(lambda: here.rank),
    told(by_main, lambda: fails(ConfigError("mend it"), 0)),
    told(on_all, lambda: fails(VoidRunError("a guard", "why"), 1)),
    told(main_first, lambda: fails(ConfigError("mend it"), 0, 1)),
    told(by_main, lambda: 1 / 0),
]
said = from_all(answers)
if here.is_main:
    import json
    print(json.dumps(said))
"""


def test_what_fails_on_one_fails_on_all_and_is_told_by_one(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    launched = subprocess.run(
        [*LAUNCHER, str(tmp_path / "worker.py")], capture_output=True, text=True, check=True, env=environment()
    )
    main, other = json.loads(launched.stdout)
    mend, void = ["ConfigError", "mend it"], ["VoidRunError", "a guard: why"]
    assert main == [0, 0, 0, [*mend, False], [*void, True], [*mend, False], "its own bug"]
    bug = ["WorkerError", "process 0 of 2: ZeroDivisionError: division by zero", True]
    assert other == [0, 1, 1, [*mend, True], [*void, False], [*mend, True], bug]


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ({"like": "lora-grow"}, 'lora.rank = "grow"'),
        ({"like": "odd-unfreeze"}, "training.unfreeze"),
    ],
)
def test_what_processes_cannot_share_is_refused(method: Mapping[str, str], setting: str) -> None:
    settings = ExperimentSettings.model_validate({"run": ["own"], "methods": {"own": method}})
    check_together(settings, processes=1)
    with pytest.raises(ConfigError, match=f"own: {setting} is for one process, and there are 3"):
        check_together(settings, processes=3)


def test_each_size_of_a_step_is_told() -> None:
    settings = ExperimentSettings.model_validate({"run": ["odd"], "methods": {"odd": {"training": {"batch_size": 64}}}})
    assert steps_told(settings, processes=4) == (
        "4 processes: 32 comments a step, 8 a process or 64 comments a step, 16 a process; "
        "learning rates as for one process"
    )


@pytest.mark.parametrize("error", [VoidRunError("a guard", "why"), MissingExtraError("torch", "train")])
def test_errors_pass_from_process_to_process(error: DistiloraError) -> None:
    error.is_echo = True
    again = copy.copy(error)  # by the same means as from process to process
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
