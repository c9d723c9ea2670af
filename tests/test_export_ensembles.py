"""An ensemble becomes a bundle that says what its run says, made of the very runs that were averaged."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import distilora.api
import distilora.export.ensembles
from distilora.bench.contenders import find_contender, open_contender
from distilora.bench.costs import CostedModel
from distilora.bundles.bundle import open_bundle
from distilora.bundles.manifest import Manifest
from distilora.bundles.storage import read_bundle, shipped_bytes
from distilora.config import EvidenceSettings, ExportSettings
from distilora.errors import ParityError, RunError
from distilora.evaluation.costs import read_costs, write_costs
from distilora.export.experiments import export_methods
from distilora.export.finding import best_run, find_run
from distilora.layout import METHOD_NAME
from distilora.report import compare_runs, read_evidence, write_report
from distilora.report.evidence import write_report_settings
from distilora.runs import RunRecord, load_experiment, run_sha256
from distilora.serve.catalog import open_catalog
from ensemble_cases import BOTH, METHODS, Averaged, save_averaged_experiment, shares
from evidence_cases import costs_of
from test_cli import run as run_command

MEMBERS = ("odd", "even")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Averaged:
    torch.set_num_threads(1)
    return save_averaged_experiment(tmp_path_factory.mktemp("averaged"))


@pytest.fixture(scope="module")
def bundles(made: Averaged) -> dict[str, Path]:
    return export_methods(made.records, made.materials, made.folder)


@pytest.fixture(scope="module")
def manifest(bundles: dict[str, Path]) -> Manifest:
    return read_bundle(bundles[BOTH]).manifest


def best_of(made: Averaged, method: str) -> RunRecord:
    best = best_run([record for record in made.records if record.result.method == method])
    assert best is not None
    return best


def test_the_bundle_repeats_the_runs_probabilities_without_torch(made: Averaged, bundles: dict[str, Path]) -> None:
    said = open_bundle(bundles[BOTH], threads=1).predict(made.materials.words("test"))
    expected = shares(best_of(made, BOTH).test_logits)
    np.testing.assert_allclose(said.probabilities, expected, atol=1e-4)
    assert said.positive_probability is not None


def test_its_members_are_the_runs_that_were_averaged_whatever_their_methods_ship(
    made: Averaged, bundles: dict[str, Path]
) -> None:
    run = best_of(made, BOTH)
    # Else the test would not tell the two apart.
    assert {best_of(made, name).result.seed for name in MEMBERS} != {run.result.seed}
    stored = read_bundle(bundles[BOTH])
    assert list(stored.members) == list(MEMBERS)
    for name, member in stored.members.items():
        origin = member.manifest.origin
        assert origin is not None
        assert (origin.method, origin.seed) == (name, run.result.seed)
        assert origin.run_sha256 == run_sha256(made.run(name, run.result.seed).folder)


def test_its_threshold_is_chosen_on_the_mean_and_its_card_tells_of_every_member(
    made: Averaged, bundles: dict[str, Path], manifest: Manifest
) -> None:
    assert manifest.threshold is not None
    assert manifest.parity is not None
    assert manifest.parity.same_labels == 1.0
    bundle, labels = open_bundle(bundles[BOTH], threads=1), made.materials.labels["validation"]
    said = bundle.predict(made.materials.words("validation"))
    positive = said.labels == manifest.labels.index("toxic")
    truth = labels == manifest.labels.index("toxic")
    assert manifest.threshold.recall == pytest.approx((positive & truth).sum() / truth.sum())
    card = (bundles[BOTH] / "README.md").read_text()
    for word in ("Member odd: a student, made of layers", "Member even", "mean of the calibrated", "members/odd"):
        assert word in card
    assert "None" not in card


def test_a_second_export_makes_nothing_and_a_changed_goal_all_anew(made: Averaged, bundles: dict[str, Path]) -> None:
    def states() -> dict[str, int]:
        return {name: (path / "distilora.json").stat().st_mtime_ns for name, path in bundles.items()}

    before, told = states(), list[str]()
    export_methods(made.records, made.materials, made.folder, tell=told.append)
    assert (states(), told) == (before, [])
    settings = made.materials.settings.model_copy(
        update={"export": ExportSettings(precision="fp32", goal="recall=0.9")}
    )
    export_methods(made.records, replace(made.materials, settings=settings), made.folder, tell=told.append)
    assert all(now != before[name] for name, now in states().items())
    assert read_bundle(bundles[BOTH]).manifest.threshold.goal == "recall"


def test_the_command_exports_an_ensemble(
    made: Averaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = ("export", made.folder / BOTH / "seed-1", tmp_path / "out", "--precision", "fp32")
    code, out, _ = run_command(monkeypatch, capsys, *wish)
    assert code == 0
    assert f"bundle: {tmp_path / 'out'}" in out
    said = open_bundle(tmp_path / "out", threads=1).predict(made.materials.words("test")).probabilities
    np.testing.assert_allclose(said, shares(made.run(BOTH, 1).test_logits), atol=1e-4)


def test_runs_that_were_made_anew_since_are_not_taken_for_the_members(made: Averaged) -> None:
    run, other = made.run(BOTH, 0), made.run(BOTH, 1)
    mixed = replace(other, result=other.result.model_copy(update={"seed": 0}))
    distilora.export.finding.member_runs(run)
    with pytest.raises(RunError, match="was made of other runs of odd, even than those that are there"):
        distilora.export.finding.member_runs(mixed)


def test_the_run_of_an_ensemble_has_no_model_and_says_what_to_do(made: Averaged) -> None:
    assert find_run(made.folder / BOTH).result.kind == "ensemble"
    with pytest.raises(RunError, match=r"has no model of its own; distilora export .*odd\+even OUT makes a bundle"):
        find_contender(made.folder / BOTH)


def test_what_is_measured_of_the_bundle_is_what_all_members_cost(made: Averaged, bundles: dict[str, Path]) -> None:
    identity = open_contender(bundles[BOTH], threads=1).identity
    members = sum(shipped_bytes(bundles[BOTH] / "members" / name) for name in MEMBERS)
    own = (bundles[BOTH] / "distilora.json").stat().st_size
    assert (identity.kind, identity.precision, identity.size_bytes) == ("ensemble", "fp32", members + own)


def test_where_another_seed_than_that_of_the_bundle_is_best_the_run_itself_is_measured(
    made: Averaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(made.folder, tmp_path / "runs")
    export_methods([one for one in load_experiment(folder) if one.result.seed == 0], made.materials, folder)
    measured: dict[str, CostedModel] = {}
    monkeypatch.setattr(distilora.api, "measure_costs", lambda models, *_, **__: measured.update(models))
    evidence = EvidenceSettings(noise_rows=0, layers=False)
    settings = made.materials.settings.model_copy(update={"evidence": evidence})
    distilora.api.compare(settings, folder, export=False)
    seeds = {name: best_of(made, name).result.seed for name in METHODS}
    assert set(seeds.values()) == {0, 1}  # else the test would not tell the two apart
    for name, seed in seeds.items():
        assert measured[name] == CostedModel(seed, folder / name / ("seed-1" if seed else "bundle"))


def test_costs_of_an_ensembles_bundle_count_as_long_as_its_members_runs_are_there(
    made: Averaged, bundles: dict[str, Path]
) -> None:
    costs = costs_of([best_of(made, BOTH)])
    ids = {"sha256": read_bundle(bundles[BOTH]).id, "model": "bundle"}
    write_costs(made.folder, costs.model_copy(update={"methods": (costs.methods[0].model_copy(update=ids),)}))
    known = read_evidence(made.folder, made.records).costs
    assert known is not None
    assert [one.method for one in known.methods] == [BOTH]
    seed = best_of(made, BOTH).result.seed
    others = [one for one in made.records if (one.result.method, one.result.seed) != ("even", seed)]
    assert read_evidence(made.folder, others).costs is None
    assert read_costs(made.folder) is not None


def test_a_report_tells_of_an_ensemble_and_links_its_page(made: Averaged) -> None:
    write_report_settings(made.folder, made.materials.settings.report, goal="f1")
    records = [made.run(name) for name in ("odd", BOTH)]
    evidence = read_evidence(made.folder, records)
    comparison = compare_runs(records, evidence)
    row = comparison.row(BOTH)
    assert row is not None
    assert [one.temperature for one in row.calibrated] == [1.0]  # it is shipped without one
    assert BOTH in {one.method for one in comparison.recommendation.considered}
    report = write_report(comparison, records, made.folder, evidence=evidence).read_text()
    assert 'href="odd%2Beven/report.html"' in report
    page = (made.folder / BOTH / "report.html").read_text()
    assert "ensemble" in page
    assert METHOD_NAME.fullmatch(BOTH)


def test_an_experiment_with_an_ensemble_is_served(made: Averaged, bundles: dict[str, Path]) -> None:
    catalog = open_catalog([made.folder])
    assert set(catalog.models) == set(bundles)
    assert catalog.unavailable == ()


def test_an_int8_ensemble_that_says_something_else_is_made_of_fp32_members(
    made: Averaged, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = distilora.export.ensembles.check_parity

    def refusing(*logits: np.ndarray, precision: str, **how: bool) -> object:
        if precision == "int8":
            raise ParityError("same labels 97.00 %; export with --precision fp32")
        return check(*logits, precision=precision, **how)

    monkeypatch.setattr(distilora.export.ensembles, "check_parity", refusing)
    settings = made.materials.settings.model_copy(update={"export": ExportSettings(precision="int8")})
    int8, told = replace(made.materials, settings=settings), list[str]()
    records = [record for record in made.records if record.result.method == BOTH]
    export_methods(records, int8, made.folder, tell=told.append)
    stored = read_bundle(bundles[BOTH])
    assert {member.manifest.precision for member in stored.members.values()} == {"fp32"}
    assert stored.manifest.int8_refused == "same labels 97.00 %"
    assert "odd+even: same labels 97.00 %; exported in fp32 instead" in told
    again = list[str]()
    export_methods(records, int8, made.folder, tell=again.append)
    assert [line for line in again if BOTH in line] == []
