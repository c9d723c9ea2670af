"""What was measured of an experiment is read from its folder, and only what is of the runs that are there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilora.analysis.records import LAYERS_FILE, write_analysis
from distilora.bundles.manifest import Origin, bundle_id
from distilora.bundles.storage import read_manifest
from distilora.config import ReportSettings
from distilora.errors import RunError
from distilora.evaluation.costs import COSTS_FILE, write_costs
from distilora.evaluation.labelled_texts import LabelledTexts, read_labelled_texts, write_labelled_texts
from distilora.evaluation.layer_searches import LAYER_SEARCH_FILE, write_layer_search
from distilora.evaluation.robustness.answers import NOISE_FILE, write_answers
from distilora.files import write_whole
from distilora.report import compare_runs, read_evidence
from distilora.report.evidence import SETTINGS_FILE, TEST_ROWS_FILE, keep_test_rows, write_report_settings
from distilora.runs import RunRecord, complete_run, load_experiment, run_folder, run_sha256, with_labels
from evidence_cases import costs_of, layers_of, noise_of, rows_of, search_of, suites_of
from report_cases import NAMES, run, usual_runs
from tiny_bundle import save_tiny_bundle

TRAINED = ("teacher", "odd", "lora")


def save(folder: Path, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the same runs as they are read from an experiment's folder, into which they were written."""
    for record in records:
        result = record.result
        logits = None
        if result.void is None:
            said = {"validation": record.validation_logits, "test": record.test_logits}
            logits = with_labels(said, {"validation": record.validation_labels, "test": record.test_labels})
        final = run_folder(folder, result.method, result.seed)
        complete_run(final.with_name("partial"), final, result=result, logits=logits)
    return load_experiment(folder)


def measure(folder: Path, records: Sequence[RunRecord]) -> None:
    """Write everything that can be measured of runs into their experiment's folder."""
    trained = {(r.result.method, r.result.seed): r for r in records if r.result.method in TRAINED}
    hashes = {key: run_sha256(record.folder) for key, record in trained.items()}
    firsts = [trained[method, 0] for method in TRAINED]
    costs = costs_of(firsts)
    methods = [c.model_copy(update={"model": "run", "sha256": hashes[c.method, 0]}) for c in costs.methods]
    write_costs(folder, costs.model_copy(update={"methods": tuple(methods)}))
    for key, record in trained.items():
        write_answers(record.folder, replace(noise_of(record), run_sha256=hashes[key]))
    for seed in (0, 1):
        layers = layers_of(trained["teacher", seed], compared=list(trained.values()))
        compared = [m.model_copy(update={"run_sha256": hashes[m.method, m.seed]}) for m in layers.compared]
        known = {"run_sha256": hashes["teacher", seed], "compared": tuple(compared)}
        write_analysis(trained["teacher", seed].folder, layers.model_copy(update=known))
    for suite in suites_of(firsts):
        models = [m.model_copy(update={"kind": "run", "sha256": hashes[m.path, 0]}) for m in suite.models]
        text = suite.model_copy(update={"models": tuple(models)}).model_dump_json()
        write_whole(folder / "suites" / f"{suite.suite}.json", text)
    keep_test_rows(folder, rows_of(firsts[0]))
    write_report_settings(folder, ReportSettings(max_latency_ms=12.5, error_rows=7), "recall=0.9")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence") / "experiment"
    measure(folder, save(folder, usual_runs(seeds=2)))
    return folder


@pytest.fixture
def experiment(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "experiment"))


def train_again(experiment: Path, method: str, seed: int = 0) -> list[RunRecord]:
    """Return the experiment's runs, of which one now says something else; what was measured of it stays."""
    kept = {run_folder(experiment, method, seed) / name for name in (NOISE_FILE, LAYERS_FILE)}
    kept = {path: path.read_bytes() for path in kept if path.exists()}
    record = next(r for r in load_experiment(experiment) if (r.result.method, r.result.seed) == (method, seed))
    shutil.rmtree(record.folder)
    runs = save(experiment, [replace(record, test_logits=record.test_logits + 1)])
    for path, content in kept.items():
        path.write_bytes(content)
    return runs


def test_everything_that_was_measured_is_read(experiment: Path) -> None:
    runs = load_experiment(experiment)
    found = read_evidence(experiment, runs)
    assert [costs.method for costs in found.costs.methods] == list(TRAINED)
    assert set(found.noise) == {(method, seed) for method in TRAINED for seed in (0, 1)}
    assert [layers.seed for layers in found.layers] == [0, 1]
    assert {model.method for model in found.layers[0].compared} == {"odd", "lora"}
    assert [suite.suite for suite in found.suites] == ["hatecheck", "identity"]
    assert [model.path for model in found.suites[0].models] == ["teacher", "lora", "odd"]
    assert np.array_equal(found.test_rows.labels, runs[-1].test_labels)
    assert found.settings == ReportSettings(max_latency_ms=12.5, error_rows=7)
    assert found.goal == "recall=0.9"
    comparison = compare_runs(runs, found)
    assert len(comparison.row("odd").disagreements.top) == 7
    assert comparison.row("odd").noise
    assert comparison.recommendation.limits.max_latency_ms == 12.5


def test_where_nobody_measured_nothing_is_known(tmp_path: Path) -> None:
    found = read_evidence(tmp_path, save(tmp_path, usual_runs()))
    assert found.costs is found.test_rows is None
    assert (found.noise, found.layers, found.suites) == ({}, (), ())
    assert (found.settings, found.goal) == (ReportSettings(), "f1")


def test_of_a_student_that_was_trained_again_only_its_own_evidence_is_left_out(experiment: Path) -> None:
    found = read_evidence(experiment, train_again(experiment, "odd"))
    assert [costs.method for costs in found.costs.methods] == ["teacher", "lora"]
    assert ("odd", 0) not in found.noise
    assert ("odd", 1) in found.noise
    assert [{m.method for m in layers.compared} for layers in found.layers] == [{"lora"}, {"lora", "odd"}]
    assert [model.path for model in found.suites[0].models] == ["teacher", "lora"]


def test_of_a_teacher_that_was_trained_again_layers_go_and_suites_whose_changes_were_against_it(
    experiment: Path,
) -> None:
    found = read_evidence(experiment, train_again(experiment, "teacher"))
    assert [layers.seed for layers in found.layers] == [1]
    assert found.suites == ()
    assert [costs.method for costs in found.costs.methods] == ["odd", "lora"]


def test_a_search_is_read_where_the_student_is_made_of_its_layers(tmp_path: Path) -> None:
    runs = save(tmp_path, [run("searched", seed=seed, layers=(1, 4, 6)) for seed in (0, 1, 2)])
    for record in runs[:2]:
        write_layer_search(record.folder, search_of(record))
    other = search_of(runs[1]).best[1]
    write_layer_search(runs[1].folder, search_of(runs[1]).model_copy(update={"chosen": other}))
    assert read_evidence(tmp_path, runs).searches == {("searched", 0): search_of(runs[0])}
    (runs[0].folder / LAYER_SEARCH_FILE).write_text("{}")
    with pytest.raises(RunError, match=r"layer-search\.json: not readable"):
        read_evidence(tmp_path, runs)


def test_where_none_of_the_methods_is_there_any_more_there_are_no_costs(experiment: Path) -> None:
    for method in TRAINED:
        runs = train_again(experiment, method)
    assert read_evidence(experiment, runs).costs is None


def bundled(experiment: Path, *, run_sha256: str, seed: int = 0) -> str:
    """Return the id of a bundle of ``odd`` that says that it was made of the run with this hash."""
    folder = experiment / "odd" / "bundle"
    save_tiny_bundle(folder)
    origin = read_manifest(folder).origin.model_dump() | {"method": "odd", "seed": seed, "run_sha256": run_sha256}
    save_tiny_bundle(folder, origin=Origin(**origin), replace=True)
    costs = costs_of([r for r in load_experiment(experiment) if (r.result.method, r.result.seed) == ("odd", seed)])
    identity = bundle_id(read_manifest(folder))
    method = costs.methods[0].model_copy(update={"sha256": identity})
    write_costs(experiment, costs.model_copy(update={"methods": (method,)}))
    return identity


def test_costs_of_a_bundle_count_where_that_very_bundle_of_a_run_is_there(experiment: Path) -> None:
    runs = load_experiment(experiment)
    identity = bundled(experiment, run_sha256=run_sha256(run_folder(experiment, "odd", 0)))
    assert read_evidence(experiment, runs).costs.of("odd").sha256 == identity
    save_tiny_bundle(experiment / "odd" / "bundle", seed=5, replace=True)
    assert read_evidence(experiment, runs).costs is None
    shutil.rmtree(experiment / "odd" / "bundle")
    assert read_evidence(experiment, runs).costs is None


def test_costs_of_a_bundle_whose_run_is_gone_do_not_count(experiment: Path) -> None:
    bundled(experiment, run_sha256="7" * 64)
    assert read_evidence(experiment, load_experiment(experiment)).costs is None


def test_names_in_measured_files_are_no_paths(experiment: Path) -> None:
    identity = bundled(experiment, run_sha256=run_sha256(run_folder(experiment, "odd", 0)))
    costs = read_evidence(experiment, load_experiment(experiment)).costs
    stray = costs.methods[0].model_copy(update={"method": "lora/../odd"})
    assert stray.sha256 == identity
    write_costs(experiment, costs.model_copy(update={"methods": (stray,)}))
    assert read_evidence(experiment, load_experiment(experiment)).costs is None


def test_test_rows_with_other_labels_are_left_out(experiment: Path) -> None:
    runs = load_experiment(experiment)
    rows = rows_of(next(record for record in runs if record.test_labels is not None))
    keep_test_rows(experiment, replace(rows, labels=rows.labels[::-1].copy()))
    assert read_evidence(experiment, runs).test_rows is None


@pytest.mark.parametrize(
    "name",
    [COSTS_FILE, f"odd/seed-0/{NOISE_FILE}", f"teacher/seed-1/{LAYERS_FILE}", "suites/hatecheck.json", TEST_ROWS_FILE],
)
def test_a_damaged_file_is_named_in_one_line_with_what_to_do(experiment: Path, name: str) -> None:
    path = experiment / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"delete (it|the file) and compare again$") as caught:
        read_evidence(experiment, load_experiment(experiment))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[report", "[report]\nerror_rows = -1\n", "[export]\ngoal = 'most'\n", "[raport]\n"])
def test_settings_that_cannot_be_read_are_named_in_one_line(experiment: Path, text: str) -> None:
    (experiment / SETTINGS_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"report\.toml: .*; correct it, or delete it and compare again$"):
        read_evidence(experiment, load_experiment(experiment))


@given(st.lists(st.tuples(st.text(st.characters(codec=None)), st.integers(0, 2), st.integers(1, 10**9))))
def test_texts_come_back_as_they_were_written_whatever_they_hold(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[str, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = LabelledTexts(
        [text for text, _, _ in items],
        np.array([label for _, label, _ in items], dtype=np.int64),
        NAMES,
        np.array([number for _, _, number in items], dtype=np.int64),
    )
    write_labelled_texts(path, rows)
    found = read_labelled_texts(path, NAMES)
    assert found.texts == rows.texts
    assert found.label_names == NAMES
    assert np.array_equal(found.labels, rows.labels)
    assert np.array_equal(found.row_numbers, rows.row_numbers)


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    rows = LabelledTexts(["half \ud83d", "\u2028\x00\ufeff"], np.array([0, 2]), NAMES, np.array([1, 2]))
    write_labelled_texts(tmp_path / "rows.jsonl", rows)
    assert read_labelled_texts(tmp_path / "rows.jsonl", NAMES).texts == ["half \ud83d", "\u2028\x00\ufeff"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"row": 1, "label": "neither", "te', "is not JSON"),
        ('{"row": 0, "label": "neither", "text": "a"}', "row is 0; need a number from 1"),
        ('{"row": true, "label": "neither", "text": "a"}', "row is True"),
        ('{"label": "neither", "text": "a"}', "row is None"),
        ('{"row": 1, "label": "neithr", "text": "a"}', 'label is "neithr", not one of hate speech, offensive, neither'),
        ('{"row": 1, "label": ["neither"], "text": "a"}', "label is"),
        ('{"row": 1, "label": "neither", "text": 5}', "text is 5; a text must be a string"),
        ("[]", "a line must be a JSON object"),
        ('{"row": 99999999999999999999, "label": "neither", "text": "a"}', "need a number from 1"),
    ],
)
def test_a_damaged_line_is_told_with_its_number(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"row": 1, "label": "neither", "text": "a"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(RunError) as caught:
        read_labelled_texts(path, NAMES)
    assert str(caught.value).startswith(f"{path} line 2: ")
    assert told in str(caught.value)


def test_a_missing_file_of_rows_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"rows\.jsonl: not readable"):
        read_labelled_texts(tmp_path / "rows.jsonl", NAMES)
