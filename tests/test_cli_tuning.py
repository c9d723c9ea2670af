"""The search as a person or a program gets it, with real trainings of a tiny encoder."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from optuna import TrialPruned

from distilora.cli import main
from distilora.config import read_experiment
from distilora.experiment.materials import prepare
from distilora.experiment.training_runs import resolved, train_run
from distilora.runs import RunRecord, read_run, run_folder
from distilora.tuning.studies import opened_storage, searched_methods
from distilora.tuning.trials import score_with, without_test_rows
from tiny import save_tiny_encoder
from tiny_experiment import save_comments

TRIALS = 2


def run(*words: object) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of a command."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr(sys, "argv", ["distilora", *map(str, words)])
        with pytest.raises(SystemExit) as leaving:
            main()
    return int(leaving.value.code or 0), out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Return a folder with a tiny encoder and comments."""
    folder = tmp_path_factory.mktemp("home")
    save_tiny_encoder(folder / "encoder", layers=2)
    save_comments(folder / "comments.csv", rows=120)
    return folder


def words(home: Path, *more: object, out: str = "out", epochs: int = 3) -> list[object]:
    """Return a command that searches the tiny experiment."""
    settings = ["encoder.max_length=32", f"training.epochs={epochs}", "training.learning_rate=0.005"]
    settings += ["training.patience=0", "training.threads=1", "training.precision=fp32", "training.batch_size=8"]
    assignments = [word for setting in settings for word in ("--set", setting)]
    data = ["--data", home / "comments.csv", "--encoder", home / "encoder"]
    return ["tune", *data, *assignments, "--out", home / out, *more]


@pytest.fixture(scope="module")
def searched(home):
    """Return the command of a search of two methods, what it printed for a program, and what it told on the way."""
    command = words(home, "--method", "odd", "--method", "lora", "--trials", TRIALS, "--json")
    code, out, err = run(*command)
    assert code == 0, err
    return command, json.loads(out), err


def test_every_method_gets_the_same_number_of_trials(searched):
    _, found, told = searched
    searches = {search["method"]: search for search in found["tuning"]["searches"]}
    assert list(searches) == ["odd", "lora"]
    for search in searches.values():
        assert len(search["trials"]) == TRIALS
        assert search["settings"]["training"]["learning_rate"] > 0
    assert "1/5 teacher seed 0: validation macro-F1" in told
    assert "3/5 odd trial 2: " in told
    assert "5/5 lora trial 2: " in told


def test_what_is_found_can_be_compared_next(home, searched):
    _, found, _ = searched
    assert found["tuned"] == str(home / "out" / "tuned.toml")
    settings = read_experiment(home / "out" / "tuned.toml")
    assert settings.method_names == ("teacher", "odd", "odd-tuned", "lora", "lora-tuned")
    assert settings.data.source == str(home / "comments.csv")
    search = found["tuning"]["searches"][0]
    assert settings.method("odd-tuned").training.learning_rate == search["settings"]["training"]["learning_rate"]


def test_a_trial_leaves_no_model_and_no_checkpoint(home, searched):
    folder = home / "out"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("result.json")) == [
        "teacher/seed-0/result.json"
    ]
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "experiment.toml",
        "teacher",
        "tuned.toml",
        "tuning.db",
        "tuning.json",
    ]


def test_the_same_command_again_changes_nothing(home, searched):
    command, found, _ = searched
    tuned = (home / "out" / "tuned.toml").read_bytes()
    code, out, _ = run(*command)
    assert (code, json.loads(out)) == (0, found)
    assert (home / "out" / "tuned.toml").read_bytes() == tuned
    code, out, _ = run(*command[:-1])
    assert code == 0
    assert f"the test rows tell, once: distilora compare {home / 'out' / 'tuned.toml'}" in out


def test_a_trial_scores_what_an_ordinary_run_scores_on_validation(home, searched, tmp_path):
    _, found, _ = searched
    settings = read_experiment(home / "out" / "tuned.toml")
    materials = prepare(settings)
    method = resolved(settings.method("odd"), materials)
    record = train_run(method, materials, tmp_path, seed=0, parents={"teacher": teacher(home)})
    first = found["tuning"]["searches"][0]["trials"][0]
    assert record.result.validation is not None
    assert record.result.validation.macro_f1 == first["validation_macro_f1"]
    assert [entry.macro_f1 for entry in record.history if entry.part == "validation"] == first["epochs"]


def test_a_trial_is_given_no_test_rows(home, searched, tmp_path):
    settings = read_experiment(home / "out" / "tuned.toml")
    materials = without_test_rows(prepare(settings))
    assert set(materials.texts) == set(materials.labels) == {"train", "validation"}
    method = resolved(settings.method("odd"), materials)
    reports: list[tuple[int, float]] = []
    score = score_with(materials, tmp_path, seed=0, parents={"teacher": teacher(home)})
    best = score(method, lambda epoch, macro_f1: reports.append((epoch, macro_f1)))
    assert best == max(macro_f1 for _, macro_f1 in reports)
    assert [epoch for epoch, _ in reports] == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []


def test_a_trial_that_is_to_be_pruned_ends_at_once_and_leaves_nothing(home, searched, tmp_path):
    materials = prepare(read_experiment(home / "out" / "tuned.toml"))
    method = resolved(materials.settings.method("lora"), materials)
    reports = []

    def prune(epoch, macro_f1):
        reports.append(epoch)
        raise TrialPruned

    with pytest.raises(TrialPruned):
        score_with(materials, tmp_path, seed=0, parents={})(method, prune)
    assert reports == [1]
    assert list(tmp_path.iterdir()) == []


def test_the_layers_that_a_first_trial_found_are_those_of_the_next(home, searched, tmp_path):
    materials = prepare(read_experiment(home / "out" / "tuned.toml"))
    method = resolved(materials.settings.method("searched"), materials)
    method = method.model_copy(update={"training": method.training.model_copy(update={"epochs": 1})})
    score = score_with(materials, tmp_path, seed=0, parents={"teacher": teacher(home)})
    assert score(method, lambda *_: None) == score(method, lambda *_: None)


def teacher(home: Path) -> RunRecord:
    return read_run(run_folder(home / "out", "teacher", 0))


def test_a_method_that_was_searched_before_gets_as_many_trials_as_a_new_one(home):
    few = ["--set", "data.train_samples=16", "--json"]
    code, _, err = run(*words(home, "--method", "lora", "--trials", 1, *few, out="more", epochs=1))
    assert code == 0, err
    code, out, err = run(*words(home, "--method", "teacher", "--trials", 2, *few, out="more", epochs=1))
    assert code == 0, err
    counts = {search["method"]: len(search["trials"]) for search in json.loads(out)["tuning"]["searches"]}
    assert counts == {"lora": 2, "teacher": 2}


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        (["--method", "lora", "--trials", TRIALS - 1], f"has {TRIALS} trials of odd, and {TRIALS - 1} are asked for"),
        (
            ["--method", "teacher", "--trials", TRIALS - 1],
            f"has {TRIALS} trials of odd, and {TRIALS - 1} are asked for",
        ),
        (["--method", "odd", "--trials", TRIALS, "--seed", 1], "odd was searched with seed = 0, now it is 1"),
        (
            ["--method", "odd", "--trials", TRIALS, "--set", "distillation.temperature=4"],
            "odd was searched with method.distillation.temperature = 2.0, now it is 4.0",
        ),
        (["--method", "odd", "--set", "data.split_seed=1"], "was made with data.split_seed = 1150, now it is 1"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(home, searched, more, answer):
    before = {path.name: path.read_bytes() for path in (home / "out").iterdir() if path.suffix in (".toml", ".json")}
    code, out, err = run(*words(home, *more))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert answer in err
    assert before == {
        path.name: path.read_bytes() for path in (home / "out").iterdir() if path.suffix in (".toml", ".json")
    }
    with opened_storage(home / "out") as storage:
        assert searched_methods(storage) == ["odd", "lora"]


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ([], "--method: name what is to be searched"),
        (["--method", "odd,evn"], 'did you mean "even"?'),
        (["--method", "odd+even"], "averages others and has no settings to search"),
        (["--method", "lora", "--set", "methods.lora-tuned.like=odd"], "methods.lora-tuned: what lora is to be called"),
        (["--method", "lora", "--set", "lora.targets=querry"], '"querry"'),
        (["--method", "lora", "--data", "absent.csv"], "absent.csv: no such file"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_leaves_nothing_behind(home, more, answer):
    code, out, err = run(*words(home, *more, out="nowhere"))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert answer in err
    assert not (home / "nowhere").exists()


def test_without_optuna_the_extra_is_named(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, out, err = run(*words(home, "--method", "lora", out="nowhere"))
    assert (code, out) == (2, "")
    assert err == "distilora: optuna is not installed: run pip install 'distilora[tune]'\n"
