"""A whole experiment on tiny encoders: what it leaves behind, what it refuses, and what it calls void."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from distilora import guards
from distilora.config import ExperimentSettings
from distilora.data.sources import read_from_settings
from distilora.data.splits import split_comments
from distilora.errors import RunError
from distilora.experiment.runner import run_experiment
from distilora.report import compare_runs, write_report
from distilora.runs import RunRecord, load_experiment, read_logits
from distilora.training.callbacks import FINITE_LOSS
from distilora.training.threads import torch_threads
from tiny_experiment import save_comments, tiny_settings

FAMILIES = ("bert", "distilbert")
WITH_HIDDEN = {
    "like": "odd",
    "distillation": {"hard": 0.5, "soft": 1.0, "cosine_logits": 0.5, "cosine_hidden": 1.0},
    "training": {"epochs": 2, "class_weight_power": 1.0, "label_smoothing": 0.1},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def experiments(home: Path) -> dict[str, dict[str, RunRecord]]:
    """Return the runs of two complete experiments by family and method."""
    with torch_threads(2):  # the settings ask for 1
        return {
            "bert": by_method(run_experiment(usual_settings(home), home / "bert-out")),
            "distilbert": by_method(run_experiment(distilbert_settings(home), home / "distilbert-out")),
        }


def usual_settings(home: Path) -> ExperimentSettings:
    return tiny_settings(home, methods={"hidden": WITH_HIDDEN})


def distilbert_settings(home: Path) -> ExperimentSettings:
    return tiny_settings(home, family="distilbert", run=("odd", "lora"))


def by_method(records: list[RunRecord]) -> dict[str, RunRecord]:
    return {record.result.method: record for record in records}


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_the_main_job_makes_every_row_of_the_table(experiments: dict[str, dict[str, RunRecord]]) -> None:
    runs = experiments["bert"]
    assert list(runs) == ["majority", "tfidf", "teacher", "odd", "even", "lora", "hidden"]
    voids = [record.result.void for family in FAMILIES for record in experiments[family].values()]
    assert set(voids) == {None}
    assert {method: record.result.layers for method, record in runs.items() if record.result.kind == "student"} == {
        "odd": (1, 3),
        "even": (2, 4),
        "hidden": (1, 3),
    }
    majority, teacher = (runs[name].result.test for name in ("majority", "teacher"))
    assert majority is not None
    assert majority.constant == "civil"
    assert teacher is not None
    assert teacher.macro_f1 > 0.8


def test_a_run_leaves_its_settings_history_logits_and_model(experiments: dict[str, dict[str, RunRecord]]) -> None:
    for method, record in experiments["bert"].items():
        names = {path.name for path in record.folder.iterdir()}
        model = set() if method in {"majority", "tfidf"} else {"model"}
        assert names == {"config.toml", "history.jsonl", "result.json", "logits.safetensors"} | model
        logits = read_logits(record.folder)
        assert ("train" in logits) == (method == "teacher")
        for part in ("validation", "test"):
            assert logits[part].shape == (20, 2)
            assert logits[f"{part}_labels"].shape == (20,)
        assert record.result.test is not None
        assert record.result.test.accuracy == (logits["test"].argmax(axis=1) == logits["test_labels"]).mean()


def test_a_result_says_what_it_was_made_from(experiments: dict[str, dict[str, RunRecord]], home: Path) -> None:
    weights = home / "bert" / "model.safetensors"
    for record in experiments["bert"].values():
        assert record.result.data.part_rows == {"train": 160, "validation": 20, "test": 20}
        assert record.result.versions["torch"] == torch.__version__
    for method in ("teacher", "odd", "lora"):
        result, folder = experiments["bert"][method].result, experiments["bert"][method].folder
        assert result.encoder is not None
        assert result.encoder.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
        saved = sum(path.stat().st_size for path in (folder / "model").glob("*.safetensors"))
        assert result.size_bytes == saved + (weights.stat().st_size if method == "lora" else 0)
        assert result.training_seconds is not None
        assert result.training_seconds > 0
        assert result.epochs == (5 if method == "lora" else 3)
        assert "1 thread," in result.machine  # those that computed: the settings say 1, the process has 2
        assert "float32" in result.machine
    teacher, odd, lora = (experiments["bert"][name].result for name in ("teacher", "odd", "lora"))
    saved_teacher = load_file(experiments["bert"]["teacher"].folder / "model" / "model.safetensors")
    assert teacher.parameters == teacher.trainable_parameters == sum(array.size for array in saved_teacher.values())
    layer = sum(array.size for name, array in saved_teacher.items() if ".layer.0." in name)
    assert odd.parameters == odd.trainable_parameters == teacher.parameters - 2 * layer
    assert lora.trainable_parameters is not None
    assert lora.trainable_parameters < teacher.parameters < (lora.parameters or 0)


def test_all_guards_are_passed_and_told(experiments: dict[str, dict[str, RunRecord]]) -> None:
    both = {guards.WEIGHTS_CHANGED, guards.SAME_AFTER_RELOAD, guards.VARIED_PREDICTIONS, guards.TRAINABLE_CLASSIFIER}
    both |= {guards.DISJOINT_PARTS, FINITE_LOSS}
    of_student = {guards.SOUND_TEACHER, guards.OWN_STORAGE, guards.STUDENT_DIFFERS, guards.TEACHER_UNCHANGED}
    passed = {method: set(record.result.guards) for method, record in experiments["bert"].items()}
    assert passed["teacher"] == both | {guards.TRAINED_TEACHER}
    assert passed["lora"] == both
    assert passed["odd"] == passed["even"] == passed["hidden"] == both | of_student


@pytest.mark.parametrize(
    ("method", "terms"),
    [
        ("teacher", {"hard"}),
        ("lora", {"hard"}),
        ("odd", {"hard", "soft", "cosine_logits"}),
        ("hidden", {"hard", "soft", "cosine_logits", "cosine_hidden"}),
    ],
)
def test_every_term_is_in_the_history_of_training_and_of_validation(
    method: str, terms: set[str], experiments: dict[str, dict[str, RunRecord]]
) -> None:
    history = experiments["bert"][method].history
    for part in ("train", "validation"):
        entries = [entry for entry in history if entry.part == part]
        assert entries
        assert {frozenset(entry.losses) for entry in entries} == {frozenset(terms | {"total"})}
    validation = [entry for entry in history if entry.part == "validation"]
    result = experiments["bert"][method].result
    assert [round(entry.epoch) for entry in validation] == list(range(1, (result.epochs or 0) + 1))
    assert all(entry.macro_f1 is not None and entry.accuracy is not None for entry in validation)
    assert result.validation is not None
    assert max(entry.macro_f1 or 0 for entry in validation) == pytest.approx(result.validation.macro_f1)


def test_a_second_call_touches_nothing(experiments: dict[str, dict[str, RunRecord]], home: Path) -> None:
    before = files_of(home / "bert-out")
    again = run_experiment(usual_settings(home), home / "bert-out")
    assert files_of(home / "bert-out") == before
    assert [record.result for record in again] == [record.result for record in experiments["bert"].values()]


FRESH_PROCESS = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

work = json.load(sys.stdin)
logits = {}
for name, (model, base) in work["models"].items():
    loaded = AutoModelForSequenceClassification.from_pretrained(base or model)
    if base:
        loaded = PeftModel.from_pretrained(loaded, model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    inputs = tokenizer(work["texts"], padding=True, truncation=True, max_length=32, return_tensors="pt")
    inputs = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        logits[name] = loaded.eval()(**inputs).logits.tolist()
json.dump(logits, sys.stdout)
"""


def test_models_open_with_plain_libraries_in_a_fresh_process_and_repeat_their_logits(
    experiments: dict[str, dict[str, RunRecord]], home: Path
) -> None:
    data = tiny_settings(home).data
    comments = read_from_settings(data)
    texts = [comments.texts[row] for row in split_comments(comments, data).test]
    models = {
        f"{family} {method}": (str(record.folder / "model"), str(home / family) if method == "lora" else None)
        for family in FAMILIES
        for method, record in experiments[family].items()
        if record.result.kind != "baseline"
    }
    assert len(models) == 8
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS],
        input=json.dumps({"models": models, "texts": texts}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, logits in json.loads(done.stdout).items():
        family, method = name.split()
        stored = read_logits(experiments[family][method].folder)["test"]
        np.testing.assert_allclose(np.array(logits), stored, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"encoder": {"max_length": 16}}, "was made with encoder.max_length = 32, now it is 16"),
        ({"data": {"split_seed": 1}}, "was made with data.split_seed = 1150, now it is 1"),
        ({"training": {"epochs": 2}}, "was made with method.training.epochs = 3, now it is 2"),
        ({"distillation": {"temperature": 5}}, "was made with method.distillation.temperature = 2.0, now it is 5.0"),
    ],
)
def test_an_experiment_with_another_setting_is_refused(
    changes: dict[str, Any], line: str, experiments: dict[str, dict[str, RunRecord]], home: Path
) -> None:
    settings = usual_settings(home).model_dump(exclude_unset=True)
    for table, values in changes.items():
        settings[table] = {**settings.get(table, {}), **values}
    before = files_of(home / "bert-out")
    with pytest.raises(RunError) as caught:
        run_experiment(ExperimentSettings.model_validate(settings), home / "bert-out")
    assert line in str(caught.value)
    assert files_of(home / "bert-out") == before


def test_an_experiment_on_other_comments_or_another_encoder_is_refused(
    experiments: dict[str, dict[str, RunRecord]], home: Path, tmp_path: Path
) -> None:
    other = save_comments(tmp_path / "comments.csv", seed=1)
    settings = usual_settings(home)
    changed = settings.model_copy(update={"data": settings.data.model_copy(update={"source": str(other)})})
    with pytest.raises(RunError, match=r"was made with data\.sha256 = '\w{64}', now it is '\w{64}'; give another"):
        run_experiment(changed, home / "bert-out")
    with pytest.raises(RunError, match=r"was made with encoder\.sha256 = '\w{64}', now it is '\w{64}'; give another"):
        run_experiment(tiny_settings(home, family="distilbert"), home / "bert-out")


def test_a_void_teacher_makes_its_students_void_and_the_table_is_still_built(home: Path, tmp_path: Path) -> None:
    settings = tiny_settings(
        home, run=("teacher", "odd"), epochs=1, methods={"teacher": {"training": {"learning_rate": 1e-9}}}
    )
    runs = by_method(run_experiment(settings, tmp_path / "out"))
    assert (runs["teacher"].result.void or "").startswith((guards.TRAINED_TEACHER, guards.VARIED_PREDICTIONS))
    assert runs["odd"].result.void == f"{guards.SOUND_TEACHER}: {runs['teacher'].result.void}"
    for method in ("teacher", "odd"):
        assert (runs[method].result.test, runs[method].result.validation) == (None, None)
        assert {path.name for path in runs[method].folder.iterdir()} == {"config.toml", "history.jsonl", "result.json"}
    comparison = compare_runs(load_experiment(tmp_path / "out"))
    assert {row.method for row in comparison.methods} == {"majority", "tfidf", "teacher", "odd"}
    report = write_report(comparison, load_experiment(tmp_path / "out"), tmp_path / "report")
    assert "void" in report.read_text(encoding="utf-8")


def test_runs_that_mean_nothing_are_void_for_the_reason_that_they_have(home: Path, tmp_path: Path) -> None:
    settings = tiny_settings(
        home,
        epochs=2,
        methods={
            "still": {"like": "odd", "training": {"learning_rate": 1e-300}},
            "whole": {"like": "odd", "layers": "1,2,3,4"},
            "absurd": {"like": "lora", "lora": {"alpha": 1e38}, "training": {"epochs": 1}},
            "labels": {"like": "odd", "layers": "1,2,3,4", "distillation": {"hard": 1, "soft": 0, "cosine_logits": 0}},
        },
        run=("still", "whole", "absurd", "labels"),
    )
    runs = by_method(run_experiment(settings, tmp_path))
    assert runs["teacher"].result.void is None
    assert (runs["still"].result.void or "").startswith(guards.WEIGHTS_CHANGED)
    assert (runs["whole"].result.void or "").startswith(guards.STUDENT_DIFFERS)
    assert (runs["absurd"].result.void or "").startswith("finite loss: ")
    assert runs["labels"].result.void is None  # no term looks at the teacher, so none is 0


def test_every_seed_has_a_teacher_of_its_own(home: Path, tmp_path: Path) -> None:
    told: list[str] = []
    settings = tiny_settings(home, run=("odd",), seeds=(0, 1), epochs=2)
    records = run_experiment(settings, tmp_path, tell=told.append)
    runs = {(record.result.method, record.result.seed): record for record in records}
    assert list(runs)[2:] == [("teacher", 0), ("odd", 0), ("teacher", 1), ("odd", 1)]
    for method in ("teacher", "odd"):
        one, other = (read_logits(runs[method, seed].folder)["test"] for seed in (0, 1))
        assert not np.allclose(one, other)
    assert [line[:4] for line in told[-4:]] == ["1/4 ", "2/4 ", "3/4 ", "4/4 "]


def test_an_encoder_whose_weights_are_no_numbers_makes_void_runs_and_no_table_of_numbers(
    home: Path, tmp_path: Path
) -> None:
    settings = tiny_settings(tmp_path, run=("teacher",), epochs=1)
    weights = tmp_path / "bert" / "model.safetensors"
    tensors = load_file(weights)
    tensors["encoder.layer.0.output.dense.weight"][:] = np.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    runs = by_method(run_experiment(settings, tmp_path / "out"))
    assert runs["teacher"].result.void == "finite loss: loss is nan at step 1"
    assert [(event.kind, event.step) for event in runs["teacher"].result.events] == [("not-finite", 1)]


def test_a_run_that_collapsed_tells_what_its_monitor_saw(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, run=("teacher",), epochs=2, training={"learning_rate": 1e-9})
    weights = tmp_path / "bert" / "model.safetensors"
    tensors = load_file(weights)
    tensors["pooler.dense.weight"][:] = 0
    tensors["pooler.dense.bias"][:] = 1  # to the classifier all comments look the same
    save_file(tensors, weights, metadata={"format": "pt"})
    teacher = by_method(run_experiment(settings, tmp_path / "out"))["teacher"].result
    assert (teacher.void or "").startswith(guards.VARIED_PREDICTIONS)
    assert [(event.kind, event.step) for event in teacher.events] == [("collapse", 40)]
