"""An ensemble says the mean of its members' calibrated probabilities, and costs what they cost together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from distilora import guards
from distilora.analysis.noise import measure_noise
from distilora.config import ExperimentSettings
from distilora.errors import RunError
from distilora.evaluation.robustness.answers import read_answers
from distilora.report import compare_runs
from distilora.report.findings.questions import answered
from distilora.runs import RunRecord, read_logits, run_folder, run_sha256
from ensemble_cases import BOTH, Averaged, average, save_averaged_experiment, save_member, shares
from report_cases import run

MEMBERS = ("odd", "even")
PARTS = ("validation", "test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Averaged:
    torch.set_num_threads(1)
    return save_averaged_experiment(tmp_path_factory.mktemp("averaged"))


def best_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the temperature of the smallest negative log likelihood, found by SciPy."""

    def loss(log_heat: float) -> float:
        logs = log_softmax(logits.astype(np.float64) / np.exp(log_heat), axis=1)
        return -float(logs[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-10})
    return float(np.exp(found.x))


def averaged(members: list[RunRecord], of: Callable[[RunRecord], NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return the mean probabilities of runs, each at its temperature, computed by SciPy."""
    heats = [best_temperature(run.validation_logits, run.validation_labels) for run in members]
    return np.mean([softmax(of(run) / heat, axis=1) for run, heat in zip(members, heats, strict=True)], axis=0)


def overwrite(run: RunRecord, logits: dict[str, NDArray[np.floating]]) -> None:
    whole = {**read_logits(run.folder), **{part: said.astype(np.float32) for part, said in logits.items()}}
    save_file(whole, run.folder / "logits.safetensors")


def test_members_come_before_their_ensemble_and_nothing_is_its_own() -> None:
    settings = ExperimentSettings(run=("even+odd",))
    assert settings.method_names == ("teacher", "even", "odd", "even+odd")
    assert settings.method("even+odd").members == ("even", "odd")


@pytest.mark.parametrize("seed", [0, 1])
def test_the_run_holds_the_mean_of_its_members_calibrated_probabilities(made: Averaged, seed: int) -> None:
    run, members = made.run(BOTH, seed), [made.run(name, seed) for name in MEMBERS]
    # Both temperatures are approximations, which is why a few millionths lie between them.
    expected = averaged(members, lambda one: one.test_logits)
    np.testing.assert_allclose(shares(run.test_logits), expected, atol=1e-5)
    expected = averaged(members, lambda one: one.validation_logits)
    np.testing.assert_allclose(shares(run.validation_logits), expected, atol=1e-5)
    assert run.test_logits.dtype == np.float32
    assert np.array_equal(run.test_labels, made.materials.labels["test"])


def test_the_run_costs_what_its_members_cost_and_has_no_model(made: Averaged) -> None:
    result, members = made.run(BOTH, 1).result, [made.run(name, 1).result for name in MEMBERS]
    assert (result.kind, result.members, result.seed) == ("ensemble", MEMBERS, 1)
    for cost in ("parameters", "trainable_parameters", "size_bytes", "training_seconds"):
        assert getattr(result, cost) == sum(getattr(member, cost) for member in members), cost
    assert result.training_memory_mib == max(member.training_memory_mib for member in members)
    assert result.guards == (guards.DISJOINT_PARTS, guards.SOUND_MEMBERS, guards.VARIED_PREDICTIONS)
    names = {path.name for path in run_folder(made.folder, BOTH, 1).iterdir()}
    assert names - {"noise.safetensors"} == {"config.toml", "history.jsonl", "logits.safetensors", "result.json"}


def test_a_cost_that_one_member_does_not_tell_is_not_told(made: Averaged, tmp_path: Path) -> None:
    odd, even = (made.run(name) for name in MEMBERS)
    silent = replace(odd, result=odd.result.model_copy(update={"training_seconds": None}))
    found = average(BOTH, made.materials, tmp_path, {"odd": silent, "even": even}).result
    assert found.training_seconds is None
    assert found.size_bytes == odd.result.size_bytes + even.result.size_bytes


def test_a_complete_run_is_read_and_other_members_are_refused(made: Averaged) -> None:
    members = {name: made.run(name) for name in MEMBERS}
    path = run_folder(made.folder, BOTH, 0) / "result.json"
    before = path.stat().st_mtime_ns
    again = average(BOTH, made.materials, made.folder, members)
    assert path.stat().st_mtime_ns == before
    assert again.result == made.run(BOTH).result
    with pytest.raises(RunError, match=r"was made with members_sha256.even = .*give another --out"):
        average(BOTH, made.materials, made.folder, {**members, "even": made.run("even", 1)})


def test_an_ensemble_of_a_void_run_is_void_and_says_whose(made: Averaged, tmp_path: Path) -> None:
    odd, even = (made.run(name) for name in MEMBERS)
    void = replace(even, result=even.result.model_copy(update={"void": "it always says the same", "test": None}))
    run = average(BOTH, made.materials, tmp_path, {"odd": odd, "even": void})
    assert run.result.void == f"{guards.SOUND_MEMBERS}: member even is void: it always says the same"
    assert (run.result.validation, run.result.test, run.test_logits) == (None, None, None)


def test_an_ensemble_that_always_says_one_class_is_void(made: Averaged, tmp_path: Path) -> None:
    members = {name: save_member(name, made.materials, tmp_path, draw=7) for name in MEMBERS}
    for one in members.values():
        overwrite(one, {part: np.tile([[3.0, 0.0]], (len(read_logits(one.folder)[part]), 1)) for part in PARTS})
    assert average(BOTH, made.materials, tmp_path, members).result.void.startswith(f"{guards.VARIED_PREDICTIONS}: ")


def test_noise_costs_an_ensemble_what_its_members_answers_say(made: Averaged) -> None:
    told = list[str]()
    measure_noise(made.records, made.materials, rows=20, tell=told.append)
    assert told[0].startswith("noise: 6 models answer 20 test texts")  # those of the members, and no other
    run, members = made.run(BOTH), [made.run(name) for name in MEMBERS]
    found = read_answers(run.folder)
    assert found.run_sha256 == run_sha256(run.folder)
    for kind in found.noisy:
        expected = averaged(members, lambda one, kind=kind: read_answers(one.folder).noisy[kind])
        np.testing.assert_allclose(shares(found.noisy[kind]), expected, atol=1e-5)
    told.clear()
    measure_noise(made.records, made.materials, rows=20, tell=told.append)
    assert told == []


def test_noise_is_not_known_of_an_ensemble_whose_member_was_not_asked(made: Averaged) -> None:
    told = list[str]()
    records = [record for record in made.records if record.result.method != "even" and record.result.seed == 0]
    measure_noise(records, made.materials, rows=10, tell=told.append)
    assert "noise: odd+even seed 0 is left out: its member even was not asked" in told


def test_a_report_asks_of_ensembles_by_themselves() -> None:
    usual = [run(name, good=good) for name, good in (("teacher", 2.4), ("odd", 2.3), ("even", 2.35), ("lora", 2.1))]
    both = run("odd+even", good=2.5, kind="ensemble", members=MEMBERS, layers=None)
    answers = {one.question: one.text for one in answered(compare_runs([*usual, both]))}
    assert "Does odd differ from even?" in answers
    assert "odd+even" not in answers["Does lora differ from both?"]
    assert "odd+even" in answers["Does odd+even differ from the others?"]
