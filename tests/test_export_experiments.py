"""A bundle for every method of an experiment: made once, made again when it is not what it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import distilora.export.runs
from distilora.bundles.bundle import open_bundle
from distilora.bundles.storage import read_manifest
from distilora.config import ExportSettings
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.runner import run_experiment
from distilora.export.experiments import export_methods
from distilora.runs import RunRecord, load_experiment, run_sha256
from tiny_experiment import tiny_settings

METHODS = ("teacher", "odd")


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Materials:
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("experiments")
    data = {"source": str(home / "comments.csv"), "positive": ["toxic"]}
    settings = tiny_settings(home, run=METHODS, data=data, export={"precision": "fp32"})
    return prepare(settings)


@pytest.fixture(scope="module")
def experiment(materials: Materials, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an experiment whose runs are trained; of its bundles there may be any."""
    folder = tmp_path_factory.mktemp("runs")
    run_experiment(materials.settings, folder)
    return folder


@pytest.fixture(scope="module")
def records(experiment: Path) -> list[RunRecord]:
    return load_experiment(experiment)


def exported_as(materials: Materials, **settings: object) -> Materials:
    return replace(materials, settings=materials.settings.model_copy(update={"export": ExportSettings(**settings)}))


def states(bundles: dict[str, Path]) -> dict[str, tuple[str, int]]:
    """Return of each bundle its id and when its manifest was written, in nanoseconds."""
    return {
        name: ((path / "bundle-id").read_text(), (path / "distilora.json").stat().st_mtime_ns)
        for name, path in bundles.items()
    }


def test_every_method_gets_a_bundle_of_its_run_and_no_second_one(
    records: list[RunRecord], materials: Materials, experiment: Path
) -> None:
    told = list[str]()
    bundles = export_methods(records, materials, experiment, tell=told.append)
    assert bundles == {name: experiment / name / "bundle" for name in METHODS}
    for name, path in bundles.items():
        origin = read_manifest(path).origin
        assert origin is not None
        assert origin.run_sha256 == run_sha256(experiment / name / "seed-0")
    before = states(bundles)
    told.clear()
    assert states(export_methods(records, materials, experiment, tell=told.append)) == before
    assert told == []


def test_a_changed_setting_makes_the_bundle_anew(
    records: list[RunRecord], materials: Materials, experiment: Path
) -> None:
    before = states(export_methods(records, materials, experiment))
    changed = exported_as(materials, precision="fp32", goal="recall=0.9")
    after = states(export_methods(records, changed, experiment))
    assert all(after[name][0] != before[name][0] for name in METHODS)
    others = replace(materials, comments=replace(materials.comments, positive=("civil",)))
    bundles = export_methods(records, others, experiment)
    assert {read_manifest(path).positive for path in bundles.values()} == {("civil",)}


def test_a_damaged_bundle_is_made_again_and_the_others_stay(
    records: list[RunRecord], materials: Materials, experiment: Path
) -> None:
    bundles = export_methods(records, materials, experiment)
    before = states(bundles)
    with (bundles["odd"] / "model.onnx").open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"damage")
    after = states(export_methods(records, materials, experiment))
    open_bundle(bundles["odd"])
    assert after["teacher"] == before["teacher"]
    assert after["odd"] != before["odd"]


def test_a_method_whose_runs_are_void_has_no_bundle_and_that_is_told(
    records: list[RunRecord], materials: Materials, experiment: Path
) -> None:
    void = [
        replace(record, result=record.result.model_copy(update={"void": "it always says the same"}))
        if record.result.method == "odd"
        else record
        for record in records
    ]
    told = list[str]()
    assert set(export_methods(void, materials, experiment, tell=told.append)) == {"teacher"}
    assert "odd: no bundle, for its runs are void" in told


def coarse(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph that was rounded so badly that it says something else, whatever the real rounding is like."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    for tensor in copy.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim == 2:
            tensor.CopyFrom(numpy_helper.from_array(np.sign(values) * np.float32(-1), tensor.name))
    return copy


def test_a_refused_int8_model_gives_an_fp32_bundle_that_says_so_and_is_not_tried_again(
    records: list[RunRecord], materials: Materials, experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, told = list[onnx.ModelProto](), list[str]()
    monkeypatch.setattr(distilora.export.runs, "quantized", lambda graph: tries.append(graph) or coarse(graph))
    int8 = exported_as(materials, precision="int8")
    bundles = export_methods(records, int8, experiment, tell=told.append)
    manifest = read_manifest(bundles["odd"])
    assert manifest.precision == "fp32"
    assert manifest.int8_refused is not None
    assert manifest.int8_refused in "".join(told)
    assert "An int8 model was refused: the exported model is too far" in (bundles["odd"] / "README.md").read_text()
    before = states(bundles)
    assert states(export_methods(records, int8, experiment)) == before
    assert len(tries) == len(METHODS)
