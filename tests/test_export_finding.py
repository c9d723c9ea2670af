"""Which run a path means, and whether the comments and encoder that are there are still those of the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from distilora.config import ExperimentSettings
from distilora.errors import DataError, RunError
from distilora.experiment.materials import prepare
from distilora.export.finding import best_run, find_run, materials_of
from distilora.runs import RunRecord, claim_experiment, complete_run, partial_folder, run_folder, with_labels
from report_cases import NAMES, run
from tiny import save_tiny_encoder
from tiny_experiment import save_comments, tiny_settings


def save_run(record: RunRecord, experiment: Path) -> Path:
    """Return the folder of a complete run that holds no model."""
    result = record.result
    final = run_folder(experiment, result.method, result.seed)
    logits = labels = np.zeros(2, dtype=np.int64)
    complete_run(
        partial_folder(experiment, result.method, result.seed),
        final,
        result=result,
        logits=with_labels({"test": np.eye(2)[logits]}, {"validation": labels, "test": labels}),
    )
    return final


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Return an experiment with a teacher of three seeds, an odd student, a void run and a baseline."""
    for seed, good in enumerate((1.0, 3.0, 2.0)):
        save_run(run("teacher", good=good, seed=seed), tmp_path)
    save_run(run("odd"), tmp_path)
    save_run(run("even", void="it always says the same"), tmp_path)
    save_run(run("majority", constant=True), tmp_path)
    return tmp_path


def test_a_method_means_its_seed_that_is_best_on_validation(experiment: Path) -> None:
    assert find_run(experiment / "teacher").folder == experiment / "teacher" / "seed-1"


def test_of_seeds_that_are_equally_good_the_smallest_is_meant() -> None:
    records = [run("odd").result.model_copy(update={"seed": seed}) for seed in (11, 2, 7)]
    chosen = best_run([RunRecord(result, (), None, None, Path()) for result in records])
    assert chosen is not None
    assert chosen.result.seed == 2


def test_one_seed_can_be_given_from_inside_its_folder(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(experiment / "teacher")
    assert find_run(Path("seed-2")).folder == experiment / "teacher" / "seed-2"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("even", r"this run is void \(it always says the same\).*give one of odd, teacher in"),
        ("majority", "majority is a baseline, there to compare with; give one of odd, teacher in"),
        ("od", 'no such method; did you mean "odd"?'),
        ("lora/seed-0", "no such method; those with complete runs are even, majority, odd, teacher"),
        ("teacher/seed-5", "no such run; complete are seed-0, seed-1, seed-2"),
        (".", "is an experiment; give one of its methods: .*odd"),
        ("odd/seed-0/model", "no run there; give EXPERIMENT/METHOD"),
        ("first/seed-3", "not complete yet; run distilora compare again"),
        ("first", "not complete yet; run distilora compare again"),
        ("odd/bundle", "is a bundle already; give the run that it was made of"),
    ],
)
def test_a_path_that_means_no_run_is_told_what_it_is(experiment: Path, path: str, told: str) -> None:
    partial_folder(experiment, "first", 3).mkdir(parents=True)
    (experiment / "odd" / "bundle").mkdir()
    (experiment / "odd" / "bundle" / "distilora.json").write_text("{}")
    with pytest.raises(RunError, match=told) as failure:
        find_run(experiment / path)
    assert "\n" not in str(failure.value)


def settings_in(folder: Path) -> ExperimentSettings:
    return tiny_settings(folder, data={"source": str(folder / "comments.csv"), "positive": ["toxic"]})


@pytest.fixture
def made(tmp_path: Path) -> RunRecord:
    """Return a run whose comments, encoder and experiment's settings are all in place."""
    materials = prepare(settings_in(tmp_path / "home"))
    claim_experiment(tmp_path / "runs", materials.identity)
    record = run("odd", names=NAMES[:2], data=materials.data_identity, encoder=materials.encoder_identity)
    return find_run(save_run(record, tmp_path / "runs"))


def test_comments_split_and_encoder_are_found_again_as_they_were(made: RunRecord, tmp_path: Path) -> None:
    there = materials_of(made)
    before = prepare(settings_in(tmp_path / "home"))
    assert there.identity == before.identity
    assert there.words("validation") == before.words("validation")
    assert there.comments.positive == ("toxic",)


def test_comments_that_have_moved_are_asked_for_and_taken(made: RunRecord, tmp_path: Path) -> None:
    moved = shutil.move(tmp_path / "home" / "comments.csv", tmp_path / "moved.csv")
    with pytest.raises(RunError, match=r"the comments of .* are not there; give --data"):
        materials_of(made)
    assert materials_of(made, data=str(moved)).comments.sha256 == made.result.data.sha256


def test_the_classes_that_are_positive_are_those_that_were_given_or_else_those_of_the_run(
    made: RunRecord, tmp_path: Path
) -> None:
    assert materials_of(made, positive=["civil"]).comments.positive == ("civil",)
    settings = tmp_path / "runs" / "experiment.toml"
    settings.write_text(settings.read_text().replace('positive = ["toxic"]', "positive = []"))
    assert materials_of(made).comments.positive == ("toxic",)


def test_a_positive_class_that_the_comments_do_not_have_is_refused(made: RunRecord) -> None:
    with pytest.raises(DataError, match=r'"toxik" is not a class; did you mean "toxic"\?.*classes are') as failure:
        materials_of(made, positive=["toxik"])
    assert "\n" not in str(failure.value)


def test_other_comments_are_refused(made: RunRecord, tmp_path: Path) -> None:
    save_comments(tmp_path / "home" / "comments.csv", seed=1)
    with pytest.raises(RunError, match=r"comments\.csv: not the comments that .*seed-0 was trained on"):
        materials_of(made)


def test_another_encoder_is_refused(made: RunRecord, tmp_path: Path) -> None:
    save_tiny_encoder(tmp_path / "home" / "bert", seed=1)
    with pytest.raises(RunError, match=r"not the one that .*seed-0 started from: the SHA-256 of its weights"):
        materials_of(made)


def test_an_experiment_without_its_settings_is_refused(made: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "runs" / "experiment.toml").write_text("[data]\n")
    with pytest.raises(RunError, match=r"experiment\.toml: not the settings of an experiment"):
        materials_of(made)
