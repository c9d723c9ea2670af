"""Bundles and trained runs measured side by side: the figures are what they say, and each is its contender's own."""

from __future__ import annotations

import csv
import runpy
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from distilora.bench.contenders import open_contender
from distilora.bench.machine import MatrixRates
from distilora.bench.processes import ContenderProbe
from distilora.bench.records import BenchReport
from distilora.bench.running import read_texts, run_bench
from distilora.bench.wording import describe
from distilora.bundles.bundle import open_bundle
from distilora.bundles.storage import read_bundle
from distilora.config import LoraSettings
from distilora.data.tokens import encode_texts
from distilora.errors import BundleError, ConfigError, DataError, DistiloraError, MissingExtraError, RunError
from distilora.models.adapters import add_lora
from distilora.models.encoders import find_encoder, load_classifier, load_tokenizer
from distilora.models.inference import compute_logits
from distilora.models.precision import computes_in_bf16
from distilora.runs import MODEL_FOLDER, complete_run, run_folder
from report_cases import run
from tiny_bundle import save_tiny_bundle, save_tiny_ensemble
from tiny_experiment import comments, save_comments
from untrained_experiment import LABELS, save_untrained_experiment

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [text for text, _ in comments(rows=40)]
HEAVY = ("torch", "transformers", "peft", "safetensors", "sklearn", "pyarrow")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """One bundle, another whose classes stand in another order, an ensemble, and one with other classes."""
    folder = tmp_path_factory.mktemp("bundles")
    one = save_tiny_bundle(folder / "one", seed=1)
    turned = save_tiny_bundle(folder / "turned", seed=2, labels=LABELS[::-1], precision="int8")
    two = save_tiny_bundle(folder / "two", seed=2)
    both = save_tiny_ensemble(folder / "both", {"one": one, "two": two})
    return one, turned, both, save_tiny_bundle(folder / "other", labels=("no", "yes"), positive=("yes",))


@pytest.fixture(scope="module")
def report(bundles):
    return run_bench(bundles, TEXTS, rounds=2, latency_texts=100, threads=1)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return save_untrained_experiment(tmp_path_factory.mktemp("experiment"))


def torch_labels(model, encoder):
    tokenizer = load_tokenizer(encoder, max_length=12)
    return compute_logits(model, encode_texts(TEXTS, tokenizer, max_length=12)).argmax(axis=1).tolist()


def test_every_contender_is_measured_in_every_round_and_told_in_the_order_given(report, bundles):
    assert [one.path for one in report.contenders] == [str(path) for path in bundles]
    assert [one.kind for one in report.contenders] == ["bundle", "bundle", "ensemble", "bundle"]
    assert [one.precision for one in report.contenders] == ["fp32", "int8", "fp32", "fp32"]
    assert [one.bundle_id for one in report.contenders] == [read_bundle(path).id for path in bundles]
    for one in report.contenders:
        assert 0 < one.texts_per_s.low <= one.texts_per_s.median <= one.texts_per_s.high
        assert 0 < one.latency.p50_ms <= one.latency.p95_ms <= one.latency.p99_ms
        assert one.load_seconds > 0
        assert 10 < one.memory_open_mib <= one.memory_peak_mib < 1000


def test_the_latency_is_of_as_many_texts_as_were_asked_for_even_where_there_are_fewer(report):
    assert {one.latency.texts for one in report.contenders} == {100}
    assert report.texts == len(TEXTS) < 100


def test_ratios_are_of_the_rounds_to_the_first_contender_which_is_one_itself(report):
    first, *others = report.contenders
    assert (first.relative_throughput.low, first.relative_throughput.high) == (1, 1)
    for one in others:
        ratios = [base / own for base, own in zip(first.round_seconds, one.round_seconds, strict=True)]
        assert one.relative_throughput.median == pytest.approx(np.median(ratios))
        assert one.texts_per_s.median == pytest.approx(np.median(len(TEXTS) / np.array(one.round_seconds)))


def test_agreement_compares_the_names_of_the_likeliest_classes(report, bundles):
    said = []
    for path in bundles[:3]:
        bundle = open_bundle(path, threads=1)
        said.append([bundle.labels[row.argmax()] for row in bundle.predict(TEXTS).probabilities])
    shares = [statistics.fmean(a == b for a, b in zip(said[0], labels, strict=True)) for labels in said]
    assert [one.same_labels for one in report.contenders[:3]] == pytest.approx(shares)
    assert 0 < shares[1] < 1


def test_agreement_is_missing_where_the_classes_differ(report):
    assert report.contenders[3].same_labels is None


def test_the_size_is_of_model_tokenizer_and_manifest_and_of_those_of_members(report, bundles):
    def shipped(folder):
        return sum((folder / name).stat().st_size for name in ("model.onnx", "tokenizer.json", "distilora.json"))

    one, turned, both, other = bundles
    members = sum(shipped(folder) for folder in (both / "members").iterdir())
    sizes = [shipped(one), shipped(turned), (both / "distilora.json").stat().st_size + members, shipped(other)]
    assert [one.size_bytes for one in report.contenders] == sizes


def test_the_share_of_the_peak_counts_the_operations_of_tokens_that_the_model_sees(report, bundles):
    bundle = open_bundle(bundles[0], threads=1)
    tokens = np.minimum(bundle.predict(TEXTS).tokens, bundle.manifest.max_length)
    operations = np.mean([bundle.manifest.work.operations(int(count)) for count in tokens])
    first, quantised, ensemble, _ = report.contenders
    assert first.gigaoperations_per_text == pytest.approx(operations / 1e9)
    for one, peak in ((first, report.machine.fp32_gflops), (quantised, report.machine.int8_gops)):
        assert one.share_of_peak == pytest.approx(one.gigaoperations_per_text * one.texts_per_s.median / peak)
    assert (ensemble.gigaoperations_per_text, ensemble.share_of_peak) == (None, None)


def test_a_report_is_the_same_once_written_and_read(report):
    assert BenchReport.model_validate_json(report.model_dump_json()) == report


def test_the_table_has_a_line_for_each_contender_and_a_dash_for_what_is_missing(report, bundles):
    lines = describe(report).splitlines()
    assert lines[0] == (
        f"40 texts of {np.mean([len(text) for text in TEXTS]):.0f} characters on average, tokenising included, "
        "2 rounds in turn, 1 thread"
    )
    for path, line in zip(bundles, lines[3:7], strict=True):
        assert line.startswith(str(path))
    assert len({len(line) for line in lines[2:7]}) == 1
    assert lines[5].endswith("—")
    assert any(line.startswith(report.machine.processor) for line in lines)


@pytest.mark.parametrize(("load", "warned"), [(1.4, False), (1.6, True), (None, False)])
def test_a_busy_machine_is_said_to_mislead(report, load, warned):
    machine = report.machine.model_copy(update={"busy_processors": load, "cores": 2})
    told = describe(report.model_copy(update={"machine": machine}))
    assert ("the machine was busy" in told) == warned


def test_a_run_and_its_adapters_say_what_torch_says(experiment):
    encoder = find_encoder(str(experiment / "bert"))
    plain, fresh = load_classifier(encoder, labels=LABELS, seed=3)
    expected = {
        "teacher": torch_labels(plain, encoder),
        "lora": torch_labels(add_lora(plain, LoraSettings(), fresh=fresh, encoder=encoder, seed=4), encoder),
    }
    for method, labels in expected.items():
        contender = open_contender(run_folder(experiment, method, 0), threads=1)
        assert contender.label_all(TEXTS).labels == labels
        assert contender.identity.name == f"{method}/seed-0"
    assert 0 < sum(expected["teacher"]) < len(TEXTS)


def test_an_adapter_is_shipped_with_its_encoder(experiment):
    encoder = find_encoder(str(experiment / "bert"))
    adapter = run_folder(experiment, "lora", 0) / MODEL_FOLDER / "adapter_model.safetensors"
    size = open_contender(run_folder(experiment, "lora", 0), threads=1).identity.size_bytes
    assert encoder.size_bytes + adapter.stat().st_size < size < encoder.size_bytes + adapter.stat().st_size + 50_000


def test_bundle_and_trained_run_are_measured_side_by_side(experiment, bundles):
    lines = []
    found = run_bench(
        [bundles[0], experiment / "teacher"], TEXTS, rounds=1, latency_texts=4, threads=1, tell=lines.append
    )
    bundle, trained = found.contenders
    assert (trained.kind, trained.name, trained.precision) == ("run", "teacher/seed-0", "fp32")
    assert trained.bundle_id is None
    assert trained.share_of_peak is None
    assert trained.memory_peak_mib > bundle.memory_peak_mib
    assert trained.load_seconds > bundle.load_seconds
    assert len(lines) == 3


def test_opening_and_running_a_bundle_loads_no_torch(bundles):
    code = f"""
import sys
from pathlib import Path
import distilora.bench.running, distilora.bench.probe, distilora.bench.wording
from distilora.bench.contenders import find_contender, open_contender
contender = open_contender(find_contender(Path({str(bundles[0])!r})), threads=1)
contender.run_one("hello"), contender.run_all(["hello", "you idiot"]), contender.identity
print(*[name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_memory_is_the_contenders_own_and_not_what_this_process_holds(report, bundles, tmp_path):
    ballast = np.ones(400 * 2**20, dtype=np.uint8)
    (tmp_path / "texts.json").write_text('["hello"]')
    with ContenderProbe(bundles[0], texts=tmp_path / "texts.json", threads=1, of="one") as probe:
        probe.open()
        _, peak = probe.label()
    assert len(ballast) / 2**20 > peak > 10


def test_a_run_without_the_libraries_for_training_names_the_extra(experiment, monkeypatch):
    monkeypatch.setattr("distilora.bench.contenders.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"torch is not installed: run pip install 'distilora\[train\]'"):
        run_bench([experiment / "teacher"], TEXTS)


def test_what_is_no_contender_is_refused_before_anything_is_measured(bundles, tmp_path):
    with pytest.raises(BundleError, match="no such folder"):
        run_bench([bundles[0], tmp_path / "absent"], TEXTS)
    with pytest.raises(BundleError, match="not a bundle"):
        run_bench([tmp_path], TEXTS)
    with pytest.raises(BundleError, match="cannot be read: File name too long"):
        run_bench([tmp_path / ("x" * 300)], TEXTS)
    with pytest.raises(ConfigError, match="nothing to measure"):
        run_bench([], TEXTS)
    with pytest.raises(DataError, match="no texts"):
        run_bench(bundles, [])
    with pytest.raises(ConfigError, match="rounds = 0: give at least 1"):
        run_bench(bundles, TEXTS, rounds=0)


def test_a_baseline_has_no_model_to_measure(tmp_path):
    result = run("majority", names=LABELS).result
    logits = {"test": np.zeros((1, 2)), "test_labels": np.zeros(1, dtype=np.int64)}
    complete_run(tmp_path / "partial", tmp_path / "seed-0", result=result, logits=logits)
    with pytest.raises(RunError, match="majority is a baseline"):
        run_bench([tmp_path / "seed-0"], TEXTS)


def test_a_damaged_bundle_is_refused_in_its_own_words(bundles, tmp_path):
    shutil.copytree(bundles[0], tmp_path / "damaged")
    model = tmp_path / "damaged" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        run_bench([tmp_path / "damaged"], TEXTS)


def test_a_process_that_dies_is_one_line_with_its_last_words(bundles, tmp_path):
    absent = tmp_path / "absent.json"
    with ContenderProbe(bundles[0], texts=absent, threads=1, of="one") as probe:
        probe.open()
        with pytest.raises(DistiloraError, match=r"^one: its process ended with exit code 1: FileNotFoundError.*$"):
            probe.label()


def test_a_process_that_dies_in_the_middle_of_an_answer_is_one_line(bundles, tmp_path, monkeypatch):
    program = tmp_path / "dies"
    program.write_text("#!/bin/sh\nread question\nprintf '{\"answer\": 1'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with (
        ContenderProbe(bundles[0], texts=tmp_path, threads=1, of="one") as probe,
        pytest.raises(DistiloraError, match=r"^one: its process ended with exit code 3: it said nothing"),
    ):
        probe.open()


def test_texts_are_drawn_at_random_each_row_once_and_the_same_for_a_seed(tmp_path):
    file = save_comments(tmp_path / "comments.csv", rows=50)
    drawn = read_texts(str(file), rows=30, seed=1)
    assert len(set(drawn)) == 30
    assert drawn == read_texts(str(file), text="text", rows=30, seed=1) != read_texts(str(file), rows=30, seed=2)
    assert sorted(read_texts(str(file), rows=99)) == sorted(text for text, _ in comments(rows=50))


def test_texts_need_no_labels_but_a_column_of_their_own(tmp_path):
    file = tmp_path / "comments.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("comment",), ("hello",), ("   ",), ("you idiot",)])
    assert sorted(read_texts(str(file))) == ["hello", "you idiot"]
    file.write_text("comment\n")
    with pytest.raises(DataError, match="no row"):
        read_texts(str(file))


def test_the_product_that_is_shipped_is_the_one_that_its_script_writes():
    script = runpy.run_path(str(ROOT / "scripts" / "int8_matmul.py"))
    assert script["FILE"].read_bytes() == script["content"]()


def test_the_product_that_is_shipped_multiplies_whole_matrices_of_its_size():
    path = ROOT / "src" / "distilora" / "bench" / "int8_matmul.onnx"
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (right,) = session.run(None, {"left": np.eye(2048, dtype=np.uint8)})
    left = np.random.default_rng(0).integers(0, 256, (3, 2048), dtype=np.uint8)
    assert (right.shape, right.min(), right.max()) == ((2048, 2048), -64, 63)
    assert (session.run(None, {"left": left})[0] == left.astype(np.int64) @ right).all()


def test_rates_of_matrix_products_are_told_by_precision():
    rates = MatrixRates(threads=1).measure()
    # Where a processor has no bfloat16, a product takes over half a minute, and says nothing.
    assert set(rates) == {"fp32", "int8", *(["bf16"] if computes_in_bf16() else [])}
    assert all(rate > 0 for rate in rates.values())
