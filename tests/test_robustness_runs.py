"""What runs say of noisy texts: asked once, the same for all, gone on with, and kept whole."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from distilora.analysis.noise import distinct_texts, measure_noise, noisy_texts
from distilora.analysis.opening import open_model
from distilora.config import ExperimentSettings
from distilora.data.tokens import EncodedTexts
from distilora.errors import RunError
from distilora.evaluation.robustness.answers import NOISE_FILE, NoisyAnswers, read_answers, write_answers
from distilora.evaluation.robustness.noise import NOISES, noisy
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.runner import run_methods
from distilora.progress import Progress
from distilora.runs import RunRecord, load_experiment, run_sha256
from tiny_experiment import tiny_settings

ROWS = 12


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ExperimentSettings:
    methods = {"lora": {"training": {"epochs": 1}}}
    return tiny_settings(tmp_path_factory.mktemp("tiny"), epochs=2, run=["teacher", "lora"], methods=methods)


@pytest.fixture(scope="module")
def materials(settings: ExperimentSettings) -> Materials:
    return prepare(settings)


@pytest.fixture(scope="module")
def made(materials: Materials, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment") / "tiny"
    run_methods(materials, folder)
    return folder


@pytest.fixture
def records(made: Path, tmp_path: Path) -> list[RunRecord]:
    """The runs, in a folder where nobody has asked them."""
    shutil.copytree(made, tmp_path / "tiny")
    return load_experiment(tmp_path / "tiny")


def named(records: list[RunRecord], method: str) -> RunRecord:
    return next(record for record in records if record.result.method == method)


def measured(records: list[RunRecord], materials: Materials, *, rows: int = ROWS, seed: int = 0) -> list[str]:
    """Return what is told while runs are asked."""
    told: list[str] = []
    measure_noise(records, materials, rows=rows, seed=seed, tell=told.append)
    return told


def answers_of(run: RunRecord) -> NoisyAnswers:
    answers = read_answers(run.folder)
    assert answers is not None
    return answers


@pytest.mark.parametrize("method", ["teacher", "lora"])
def test_answers_are_those_of_the_model_asked_one_text_at_a_time(
    records: list[RunRecord], materials: Materials, method: str
) -> None:
    measured(records, materials)
    run, words = named(records, method), materials.words("test")
    answers, model = answers_of(run), open_model(run, materials)
    assert run.test_logits is not None
    np.testing.assert_allclose(answers.clean, run.test_logits[answers.positions], atol=1e-5)
    assert list(answers.noisy) == list(NOISES)
    for kind, logits in answers.noisy.items():
        for row, text in enumerate(noisy([words[position] for position in answers.positions], kind, seed=0)):
            inputs = materials.tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
            with torch.inference_mode():
                said = model(input_ids=inputs["input_ids"]).logits[0].numpy()
            np.testing.assert_allclose(logits[row], said, atol=1e-5)


def test_noise_that_the_tokenizer_undoes_changes_nothing(records: list[RunRecord], materials: Materials) -> None:
    measured(records, materials)
    answers = answers_of(named(records, "teacher"))
    np.testing.assert_array_equal(answers.noisy["upper-case"], answers.clean)
    assert not np.allclose(answers.noisy["dropped"], answers.clean)
    texts = noisy_texts(materials, answers.positions, seed=0)
    assert len(texts.texts) < len(texts.places) * ROWS


def test_rows_are_a_stratified_sample_and_at_most_all(records: list[RunRecord], materials: Materials) -> None:
    measured(records, materials)
    labels = materials.labels["test"]
    positions = answers_of(named(records, "teacher")).positions
    assert (len(positions), len(set(positions)), sorted(positions)) == (ROWS, ROWS, positions.tolist())
    np.testing.assert_allclose(
        np.bincount(labels[positions]) / ROWS, np.bincount(labels) / len(labels), atol=0.5 / ROWS + 1e-9
    )
    np.testing.assert_array_equal(positions, answers_of(named(records, "lora")).positions)
    measured(records, materials, rows=10_000)
    assert answers_of(named(records, "teacher")).positions.tolist() == list(range(len(labels)))


def test_measuring_twice_gives_the_same_bytes(records: list[RunRecord], materials: Materials) -> None:
    files = [named(records, method).folder / NOISE_FILE for method in ("teacher", "lora")]
    measured(records, materials)
    first = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    measured(records, materials)
    assert [file.read_bytes() for file in files] == first


def test_what_was_asked_is_not_asked_again_and_a_broken_off_measuring_goes_on(
    records: list[RunRecord], materials: Materials
) -> None:
    first = measured(records, materials)
    assert [line.partition(" ")[0] for line in first] == ["noise:", "1/2", "2/2"]
    assert first[0] == f"noise: 2 models answer {ROWS} test texts, {len(NOISES)} kinds of noise"
    assert measured(records, materials) == []
    (named(records, "lora").folder / NOISE_FILE).unlink()
    _, again = measured(records, materials)
    assert again.startswith("1/1 noise in ")
    assert "lora seed 0" in again


def test_a_run_whose_model_is_gone_is_left_out_and_the_others_are_asked(
    records: list[RunRecord], materials: Materials
) -> None:
    (named(records, "lora").folder / "model").rename(named(records, "lora").folder / "moved")
    told = measured(records, materials)
    assert [line for line in told if line.startswith("noise: lora seed 0 is left out: ")]
    assert not (named(records, "lora").folder / NOISE_FILE).exists()
    assert len(answers_of(named(records, "teacher")).positions) == ROWS


@pytest.mark.parametrize("change", ["rows", "seed", "run", "kinds", "damage"])
def test_answers_to_something_else_are_asked_anew(records: list[RunRecord], materials: Materials, change: str) -> None:
    measured(records, materials)
    teacher = named(records, "teacher")
    right = answers_of(teacher)
    path = teacher.folder / NOISE_FILE
    if change == "rows":
        write_answers(teacher.folder, replace(right, positions=right.positions + 1))
    elif change == "seed":
        write_answers(teacher.folder, replace(right, seed=1))
    elif change == "run":
        write_answers(teacher.folder, replace(right, run_sha256="0" * 64))
    elif change == "kinds":
        write_answers(teacher.folder, replace(right, noisy={"spaced": right.noisy["spaced"]}))
    else:
        path.write_bytes(path.read_bytes()[:-9])
    damaged, *told = measured(records, materials) if change == "damage" else ["", *measured(records, materials)]
    assert damaged.endswith("; it is measured anew") == (change == "damage")
    assert [line.partition(" ")[0] for line in told] == ["noise:", "1/1"]
    again = answers_of(teacher)
    assert (again.run_sha256, again.seed) == (run_sha256(teacher.folder), 0)
    np.testing.assert_array_equal(again.positions, right.positions)
    np.testing.assert_array_equal(again.clean, right.clean)
    assert list(again.noisy) == list(NOISES)


def test_another_seed_takes_other_rows_and_other_noise(records: list[RunRecord], materials: Materials) -> None:
    measured(records, materials)
    first = answers_of(named(records, "teacher"))
    measured(records, materials, seed=1)
    second = answers_of(named(records, "teacher"))
    assert second.seed == 1
    assert first.positions.tolist() != second.positions.tolist()


def test_void_runs_and_baselines_are_not_asked(records: list[RunRecord], materials: Materials) -> None:
    void = [replace(run, result=run.result.model_copy(update={"void": "finite loss: nan"})) for run in records]
    assert measured(void, materials) == []
    measured(records, materials)
    asked = {run.result.method for run in records if read_answers(run.folder) is not None}
    assert asked == {"teacher", "lora"}


def test_a_run_of_other_comments_is_refused_before_any_is_asked(records: list[RunRecord], materials: Materials) -> None:
    lora = named(records, "lora")
    data = lora.result.data.model_copy(update={"sha256": "0" * 64})
    foreign = replace(lora, result=lora.result.model_copy(update={"data": data}))
    with pytest.raises(RunError, match="other comments"):
        measured([named(records, "teacher"), foreign], materials)
    assert read_answers(named(records, "teacher").folder) is None


def test_threads_are_as_many_afterwards_as_before(records: list[RunRecord], materials: Materials) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # the experiment asks for 1
        measured(records, materials)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- texts ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1), min_size=1, max_size=4))
def test_texts_with_the_same_ids_stand_once_and_are_found_again(versions: list[list[list[int]]]) -> None:
    found = distinct_texts({str(number): encoded(texts) for number, texts in enumerate(versions)})
    stored = [
        found.texts.ids[start:stop].tolist()
        for start, stop in zip(found.texts.starts[:-1], found.texts.starts[1:], strict=True)
    ]
    assert len(set(map(tuple, stored))) == len(stored)
    for number, texts in enumerate(versions):
        assert [stored[place] for place in found.places[str(number)]] == texts


def encoded(texts: list[list[int]]) -> EncodedTexts:
    starts = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    return EncodedTexts(np.array([token for text in texts for token in text], dtype=np.int64), starts, pad_id=0)


# --- files ----------------------------------------------------------------------------------------------------------


def some_answers() -> NoisyAnswers:
    draw = np.random.default_rng(0)
    noisy_logits = {kind: draw.normal(size=(3, 2)).astype(np.float32) for kind in NOISES}
    clean = draw.normal(size=(3, 2)).astype(np.float32)
    return NoisyAnswers("a" * 64, seed=5, positions=np.array([1, 4, 9]), clean=clean, noisy=noisy_logits)


def test_answers_come_back_as_they_were_written_and_repeat_their_bytes(tmp_path: Path) -> None:
    answers = some_answers()
    assert read_answers(tmp_path) is None
    written = set()
    for _ in range(8):
        write_answers(tmp_path, answers)
        written.add((tmp_path / NOISE_FILE).read_bytes())
    assert len(written) == 1
    back = read_answers(tmp_path)
    assert back is not None
    assert (back.run_sha256, back.seed, list(back.noisy)) == (answers.run_sha256, 5, list(NOISES))
    np.testing.assert_array_equal(back.positions, answers.positions)
    np.testing.assert_array_equal(back.clean, answers.clean)
    for kind, logits in answers.noisy.items():
        np.testing.assert_array_equal(back.noisy[kind], logits)


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "text", "no header", "newer", "no positions", "fewer rows", "other classes"]
)
def test_a_damaged_file_is_refused_in_one_line_that_says_what_to_do(tmp_path: Path, damage: str) -> None:
    answers, path = some_answers(), tmp_path / NOISE_FILE
    write_answers(tmp_path, answers)
    tensors, whole = load_file(path), path.read_bytes()
    header = '{"format":1,"run_sha256":"a","seed":0}'
    if damage in ("cut", "empty", "text"):
        path.write_bytes({"cut": whole[:-9], "empty": b"", "text": b"positions, clean"}[damage])
    elif damage == "no header":
        save_file(tensors, path)
    elif damage == "newer":
        save_file(tensors, path, metadata={"answers": header.replace("1", "2", 1)})
    elif damage == "no positions":
        save_file({"clean": tensors["clean"]}, path, metadata={"answers": header})
    elif damage == "fewer rows":
        save_file({**tensors, "clean": tensors["clean"][:2].copy()}, path, metadata={"answers": header})
    else:
        save_file({**tensors, "noisy.spaced": np.zeros((3, 5), np.float32)}, path, metadata={"answers": header})
    with pytest.raises(RunError, match=r"noise\.safetensors: not readable: .+; delete it and compare again") as caught:
        read_answers(tmp_path)
    assert "\n" not in str(caught.value)


def test_progress_counts_what_is_done_and_judges_the_time_left_by_what_was_not_done_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    told: list[str] = []
    progress = Progress(total=3, tell=told.append)
    for name, seconds in (("teacher", 0.5), ("odd", 40.0), ("even", 20.0)):
        clock["now"] += seconds
        progress.tell_of(name)
    assert told == ["1/3 teacher", "2/3 odd; about 40 s left", "3/3 even"]
