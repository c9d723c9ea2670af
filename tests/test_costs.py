"""What models cost: real processes on tiny models, texts of exact lengths, and figures that are never mixed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from distilora.bench.contenders import open_contender
from distilora.bench.costs import CostedModel, measure_costs
from distilora.bench.processes import ContenderProbe
from distilora.bench.texts import texts_of_length
from distilora.bundles.storage import read_bundle, shipped_bytes
from distilora.errors import ConfigError, DataError, DistiloraError, RunError
from distilora.evaluation.costs import COSTS_FILE, LENGTHS, read_costs, write_costs
from distilora.machine import processor
from distilora.runs import MODEL_FOLDER, run_folder, run_sha256
from tiny_bundle import save_tiny_bundle, save_tiny_ensemble
from tiny_experiment import comments
from untrained_experiment import save_untrained_experiment

TEXTS = [text for text, _ in comments(rows=60)]
JAPANESE = ["これは文章です。" * 30, "とても良い日ですね。" * 25, "どうもありがとうございます。" * 20]
SPECIALS = ["<s>", "</s>", "<unk>"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return save_untrained_experiment(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def models_there(runs, tmp_path_factory):
    """An fp32 and an int8 bundle, and a trained run."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "teacher": CostedModel(0, run_folder(runs, "teacher", 0)),
        "odd": CostedModel(2, save_tiny_bundle(folder / "odd", seed=1, max_length=200)),
        "even": CostedModel(1, save_tiny_bundle(folder / "even", seed=2, precision="int8")),
    }


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def experiment(models_there, lines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    measure_costs(models_there, TEXTS, experiment=folder, rounds=2, threads=1, tell=lines.append)
    return folder


@pytest.fixture
def bundles(models_there, tmp_path):
    """The two bundles, in copies that a test may damage."""
    names = ("odd", "even")
    copies = {name: shutil.copytree(models_there[name].folder, tmp_path / "bundles" / name) for name in names}
    return {name: CostedModel(models_there[name].seed, copy) for name, copy in copies.items()}


def measured(models, folder, *, rounds=1, threads=1):
    lines = []
    folder.mkdir(exist_ok=True)
    return measure_costs(models, TEXTS, experiment=folder, rounds=rounds, threads=threads, tell=lines.append), lines


def test_every_method_has_its_figures_in_the_order_given(experiment, models_there):
    costs = read_costs(experiment)
    assert [(one.method, one.seed) for one in costs.methods] == [("teacher", 0), ("odd", 2), ("even", 1)]
    assert [one.model for one in costs.methods] == ["run", "bundle", "bundle"]
    assert [one.precision for one in costs.methods] == ["fp32", "fp32", "int8"]
    assert (costs.texts, costs.rounds, costs.threads, costs.processor) == (len(TEXTS), 2, 1, processor())
    assert costs.cores >= 1
    assert {"python", "onnxruntime", "torch"} <= set(costs.versions)
    assert costs.of("odd").size_bytes == shipped_bytes(models_there["odd"].folder)
    for one in costs.methods:
        assert 0 < one.texts_per_s_low <= one.texts_per_s <= one.texts_per_s_high
        assert 10 < one.memory_peak_mib < 2000
        assert one.load_seconds > 0
        assert [at.tokens for at in one.latency] == list(LENGTHS)
        for at in one.latency:
            assert at.times == 80
            assert 0 < at.p50_ms <= at.p95_ms
    assert costs.of("teacher").memory_peak_mib > costs.of("odd").memory_peak_mib


def test_the_hash_is_the_bundles_id_and_of_a_run_that_of_its_logits(experiment, models_there):
    costs = read_costs(experiment)
    assert costs.of("odd").sha256 == read_bundle(models_there["odd"].folder).id
    assert costs.of("teacher").sha256 == run_sha256(models_there["teacher"].folder)


def test_each_round_is_told_with_every_model_and_the_time_left(experiment, lines):
    assert read_costs(experiment) is not None
    first, second = [line for line in lines if "texts/s" in line]
    assert first.startswith("costs: round 1: teacher ")
    assert first.endswith(" s left")
    assert "left" not in second
    assert all(f"{name} " in second for name in ("teacher", "odd", "even"))


def test_texts_are_exactly_as_long_by_the_bundles_own_tokenizer_and_differ(models_there, tmp_path):
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    folder = models_there["odd"].folder
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words = set(" ".join(TEXTS).split())
    with ContenderProbe(folder, texts=tmp_path / "texts.json", threads=1, of="odd") as probe:
        for tokens in LENGTHS:
            texts = probe.make_texts(tokens, amount=40)
            assert [len(tokenizer.encode(text).ids) for text in texts] == [tokens] * 40
            assert len(set(texts)) == 40
            assert set(" ".join(text.rsplit(" ", 1)[0] for text in texts).split()) <= words


def test_a_run_and_an_ensemble_count_whole_texts(runs, models_there, tmp_path):
    folders = {name: models_there[name].folder for name in ("odd", "even")}
    for folder in (run_folder(runs, "teacher", 0), save_tiny_ensemble(tmp_path / "both", folders)):
        file = next(folder.rglob("tokenizer.json"))
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        long = [*TEXTS[:3], " ".join(TEXTS)]
        counts = open_contender(folder, threads=1).count_tokens(long)
        assert counts == [len(tokenizer.encode(text).ids) for text in long]
        assert counts[-1] > 200


def byte_level():
    """Return a byte-level BPE tokenizer as RoBERTa's, trained on the comments."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    return framed(tokenizer, trainer)


def sentence_pieces():
    """Return a unigram tokenizer as XLM-R's, trained on the comments."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=SPECIALS, unk_token=SPECIALS[2], show_progress=False
    )
    return framed(tokenizer, trainer)


def framed(tokenizer, trainer):
    tokenizer.train_from_iterator([*TEXTS, *JAPANESE], trainer)
    specials = [(token, tokenizer.token_to_id(token)) for token in SPECIALS[:2]]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=specials)
    return tokenizer


@pytest.mark.parametrize("texts", [TEXTS, JAPANESE], ids=["with spaces", "without"])
@pytest.mark.parametrize("make", [byte_level, sentence_pieces])
def test_other_families_of_tokenizers_make_exact_texts_too(make, texts):
    tokenizer = make()

    def count(some):
        return [len(encoding.ids) for encoding in tokenizer.encode_batch(some)]

    for tokens in LENGTHS:
        assert count(texts_of_length(texts, tokens, amount=10, count=count)) == [tokens] * 10


def test_where_no_text_is_that_long_the_next_longer_are_taken():
    def threes(some):
        return [3 * len(text) for text in some]

    assert {len(text) for text in texts_of_length(["abcdefgh ijklmnop"], 16, amount=5, count=threes)} == {6}
    with pytest.raises(DataError, match="no word"):
        texts_of_length([" ", ""], 16, amount=5, count=threes)


def test_what_is_up_to_date_is_not_measured_again(experiment, models_there):
    path = experiment / COSTS_FILE
    before = (path.stat().st_mtime_ns, path.read_bytes())
    costs, told = measured(models_there, experiment, rounds=2)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    assert costs == read_costs(experiment)
    assert told == ["costs: costs.json holds these models already"]


def kept(experiment, folder, *, methods):
    """Return the figures of some of the methods as they were measured once, now kept in another folder."""
    costs = read_costs(experiment)
    costs = costs.model_copy(update={"methods": tuple(costs.of(method) for method in methods)})
    folder.mkdir()
    write_costs(folder, costs)
    return costs


def test_all_are_measured_anew_when_one_of_them_changes(experiment, bundles, tmp_path):
    first = kept(experiment, tmp_path / "out", methods=("odd", "even"))
    assert measured(bundles, tmp_path / "out", rounds=2)[0] == first
    changed = {**bundles, "even": CostedModel(1, save_tiny_bundle(tmp_path / "new", seed=9, precision="int8"))}
    second, _ = measured(changed, tmp_path / "out", rounds=2)
    assert first.of("even").sha256 != second.of("even").sha256
    assert first.of("odd").sha256 == second.of("odd").sha256
    assert first.of("odd").latency != second.of("odd").latency
    assert read_costs(tmp_path / "out") == second


@pytest.mark.parametrize("change", [{"rounds": 1}, {"threads": 2}])
def test_figures_taken_in_another_way_are_taken_again(change, experiment, bundles, tmp_path):
    kept(experiment, tmp_path / "out", methods=("odd",))
    again, told = measured({"odd": bundles["odd"]}, tmp_path / "out", **{"rounds": 2, **change})
    assert len(told) > 1
    assert again.model_dump(include=set(change)) == change


def test_what_cannot_be_measured_is_told_and_left_out(bundles, runs, tmp_path):
    damaged = bundles["even"].folder / "model.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    broken = shutil.copytree(run_folder(runs, "teacher", 0), tmp_path / "teacher" / "seed-0")
    (broken / MODEL_FOLDER / "tokenizer.json").write_text("{")
    models = {**bundles, "teacher": CostedModel(0, broken), "absent": CostedModel(0, tmp_path / "absent")}
    costs, told = measured(models, tmp_path / "out")
    assert [one.method for one in costs.methods] == ["odd"]
    left_out = sorted(line for line in told if "left out" in line)
    assert left_out[0].startswith("costs: absent is left out: ")
    assert left_out[1].startswith("costs: even is left out: ")
    assert "model.onnx" in left_out[1]
    assert left_out[2].startswith("costs: teacher is left out: teacher: its process ended with exit code 1: ")


def kill_process_of(folder):
    """Kill the process that this one started for a model."""
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    for number in map(int, children.split()):
        if str(folder) in Path(f"/proc/{number}/cmdline").read_text():
            os.kill(number, signal.SIGKILL)


def test_a_model_whose_process_dies_between_rounds_is_left_out(bundles, tmp_path):
    lines = []

    def tell(line):
        lines.append(line)
        if "round 1:" in line:
            kill_process_of(bundles["odd"].folder)

    costs = measure_costs(bundles, TEXTS, experiment=tmp_path, rounds=2, threads=1, tell=tell)
    assert [one.method for one in costs.methods] == ["even"]
    assert [at.times for at in costs.of("even").latency] == [80, 80, 80]
    assert "costs: odd is left out: odd: its process ended with exit code -9: " in "".join(lines)


def test_where_none_can_be_measured_no_figures_of_others_stay(experiment, bundles, tmp_path):
    kept(experiment, tmp_path / "out", methods=("odd", "even"))
    for model in bundles.values():
        (model.folder / "model.onnx").unlink()
    with pytest.raises(DistiloraError, match="none of the models could be measured"):
        measured(bundles, tmp_path / "out")
    assert read_costs(tmp_path / "out") is None


def test_of_many_texts_so_many_are_answered_as_the_record_says(bundles, tmp_path):
    many = [text for text, _ in comments(rows=700)]
    costs = measure_costs({"odd": bundles["odd"]}, many, experiment=tmp_path, rounds=1, threads=1)
    assert costs.texts == 600


def test_what_means_nothing_is_refused(bundles, tmp_path):
    with pytest.raises(ConfigError, match="there is no model"):
        measure_costs({}, TEXTS, experiment=tmp_path)
    with pytest.raises(DataError, match="no texts"):
        measure_costs(bundles, [" "], experiment=tmp_path)
    with pytest.raises(ConfigError, match="rounds = 0: give at least 1"):
        measure_costs(bundles, TEXTS, experiment=tmp_path, rounds=0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Invalid JSON: EOF"),
        ('{"methods": []}', "texts: Field required"),
        ('{"format": 2, "methods": []}', "its format is 2, which this version of distilora does not know"),
    ],
)
def test_a_damaged_file_of_costs_is_refused_and_measured_anew(content, why, experiment, bundles, tmp_path):
    folder = tmp_path / "out"
    kept(experiment, folder, methods=("odd",))
    (folder / COSTS_FILE).write_text(content)
    with pytest.raises(RunError, match=rf"costs\.json: not readable: {why}.*; delete it and compare again$") as caught:
        read_costs(folder)
    assert "\n" not in str(caught.value)
    costs, told = measured({"odd": bundles["odd"]}, folder)
    assert told[0].startswith(f"{folder / COSTS_FILE}: not readable: {why}")
    assert told[0].endswith("; it is measured anew")
    assert read_costs(folder) == costs


_ASKS = """
import sys
from pathlib import Path
from distilora.bench.processes import ContenderProbe
with ContenderProbe(Path(sys.argv[1]), texts=Path(sys.argv[2]), threads=1, of="odd") as probe:
    probe.open()
    print(probe._process.pid, flush=True)
    probe.label()
"""


def seconds_worked(number):
    """Return the processor time of a process in user mode, or nothing where it has ended."""
    try:
        state, *fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else int(fields[10]) / os.sysconf("SC_CLK_TCK")


def test_a_models_process_ends_with_the_one_that_asks_in_the_middle_of_an_answer(bundles, tmp_path):
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS * 5_000))
    arguments = [sys.executable, "-c", _ASKS, str(bundles["odd"].folder), str(tmp_path / "texts.json")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as asking:
        child = int(asking.stdout.readline())
        before = seconds_worked(child)
        while seconds_worked(child) < before + 0.5:  # until it is at work
            time.sleep(0.02)
        asking.kill()
    deadline = time.monotonic() + 10
    while seconds_worked(child) is not None:
        assert time.monotonic() < deadline, "it is still at work"
        time.sleep(0.02)
