"""From a trained run to a bundle that says the same, and how one that does not is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from huggingface_hub import ModelCard
from onnx import numpy_helper
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from distilora.bundles.bundle import open_bundle
from distilora.bundles.manifest import Manifest, Parity, Threshold
from distilora.config import ExportSettings
from distilora.errors import BundleError, ConfigError, ParityError
from distilora.evaluation.metrics import macro_f1
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.runner import run_experiment
from distilora.export.building import Draft, ValidationRows, build_bundle, measured
from distilora.export.card import CardFacts, model_card
from distilora.export.graphs import export_graph
from distilora.export.loading import require_same_when_merged, trained_model
from distilora.export.quantization import quantized
from distilora.export.runs import draft_bundle, export_run, shipped_model
from distilora.export.work import count_operations, count_work
from distilora.models.encoders import load_trained
from distilora.models.inference import compute_logits
from distilora.runs import RunRecord, read_logits, run_sha256
from tiny import FAMILIES, save_tiny_encoder
from tiny_bundle import save_tiny_bundle, tiny_tokenizer
from tiny_experiment import tiny_settings

FP32, INT8 = ExportSettings(precision="fp32"), ExportSettings(precision="int8")
METHODS = ("teacher", "odd", "lora")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds a tiny BERT whose tokenizer is WordPiece, and where the experiment is kept."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export")
    _save_wordpiece_encoder(folder / "bert")
    return folder


@pytest.fixture(scope="module")
def materials(home: Path) -> Materials:
    data = {"source": str(home / "comments.csv"), "positive": ["toxic"]}
    return prepare(tiny_settings(home, run=METHODS, data=data))


@pytest.fixture(scope="module")
def runs(home: Path, materials: Materials) -> dict[str, RunRecord]:
    """Return trained runs by method; each separates the two classes well."""
    records = run_experiment(materials.settings, home / "runs")
    return {record.result.method: record for record in records if record.result.kind != "baseline"}


def _save_wordpiece_encoder(folder: Path) -> None:
    specials = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer(), model_input_names=["input_ids", "attention_mask"], **specials
    )
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = AutoConfig.for_model("bert", **sizes, vocab_size=len(tokenizer), max_position_embeddings=64)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        encoder = AutoModel.from_config(config)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rows_of(run: RunRecord, materials: Materials) -> ValidationRows:
    return ValidationRows(
        materials.words("validation"), materials.labels["validation"], read_logits(run.folder)["validation"]
    )


def draft_of(run: RunRecord, materials: Materials, graph: onnx.ModelProto, settings: ExportSettings) -> Draft:
    shipped = shipped_model(run, materials, trained_model(run, materials), settings=settings)
    return draft_bundle(run, materials, shipped, graph, settings=settings)


def sabotaged(graph: onnx.ModelProto, *, factor: float) -> onnx.ModelProto:
    """Return a copy of a graph in which the largest matrix of its products is multiplied."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    factors = {node.input[1] for node in copy.graph.node if node.op_type in ("MatMul", "Gemm")}
    matrices = [tensor for tensor in copy.graph.initializer if tensor.name in factors]
    largest = max(matrices, key=lambda tensor: int(np.prod(tensor.dims)))
    largest.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(largest) * np.float32(factor), largest.name))
    return copy


@pytest.mark.parametrize("method", METHODS)
def test_an_fp32_bundle_and_plain_transformers_both_repeat_the_trained_logits(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path, method: str
) -> None:
    exported = export_run(runs[method], materials, tmp_path / "out", settings=FP32)
    trained = read_logits(runs[method].folder)["test"]
    texts = materials.words("test")
    assert np.abs(open_bundle(exported.path).logits(texts) - trained).max() < 1e-4
    model = AutoModelForSequenceClassification.from_pretrained(exported.path, local_files_only=True)
    tokens = AutoTokenizer.from_pretrained(exported.path, local_files_only=True)(
        texts, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        logits = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
    assert np.abs(logits.numpy() - trained).max() < 1e-5
    assert model.config.id2label == dict(enumerate(materials.label_names))


def test_a_bundle_tells_where_it_comes_from_and_what_it_scores(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    run, told = runs["odd"], []
    exported = export_run(run, materials, tmp_path / "out", settings=FP32, tell=told.append)
    manifest, result = exported.manifest, run.result
    assert manifest.origin is not None
    assert manifest.origin.model_dump() == {
        "method": "odd",
        "kind": "student",
        "seed": 0,
        "layers": (1, 3),
        "encoder": "bert",
        "encoder_sha256": materials.encoder.sha256,
        "family": "bert",
        "data_source": "comments.csv",
        "data_sha256": materials.comments.sha256,
        "run_sha256": run_sha256(run.folder),
    }
    assert [(scores.part, scores.macro_f1) for scores in manifest.scores] == [
        ("validation", result.validation.macro_f1),
        ("test", result.test.macro_f1),
    ]
    assert (manifest.parameters, manifest.max_length, manifest.pad_id) == (result.parameters, 32, 0)
    assert manifest.vocabulary == tiny_tokenizer().get_vocab_size()
    assert exported.size_bytes == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*"))
    assert len(told) == 1


def with_positive(materials: Materials, *names: str) -> Materials:
    return replace(materials, comments=replace(materials.comments, positive=names))


def test_the_positive_classes_are_those_of_the_comments_wherever_a_bundle_names_them(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    exported = export_run(runs["odd"], with_positive(materials, "civil"), tmp_path / "out", settings=FP32)
    assert exported.manifest.positive == ("civil",)
    assert exported.manifest.threshold is not None
    assert AutoConfig.from_pretrained(tmp_path / "out").distilora_positive == ["civil"]


def test_without_a_positive_class_there_is_no_threshold_and_that_is_told(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    told = list[str]()
    exported = export_run(runs["odd"], with_positive(materials), tmp_path / "out", settings=FP32, tell=told.append)
    assert (exported.manifest.positive, exported.manifest.threshold) == ((), None)
    (line,) = [line for line in told if "no class is positive" in line]
    assert "give --positive" in line


def test_a_class_whose_name_is_no_line_of_text_is_refused_in_one_line(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    comments = replace(materials.comments, label_names=("civil\nor so", "toxic"))
    with pytest.raises(BundleError, match=r'cannot become a bundle: "labels\.0": control characters') as failure:
        export_run(runs["odd"], replace(materials, comments=comments), tmp_path / "out", settings=FP32)
    assert "\n" not in str(failure.value)


def test_that_every_class_is_positive_is_refused(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    everything = with_positive(materials, *materials.label_names)
    with pytest.raises(ConfigError, match="every class is positive"):
        export_run(runs["odd"], everything, tmp_path / "out", settings=FP32)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_gives_the_labels_that_its_scores_and_threshold_were_computed_from(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    settings = ExportSettings(precision="int8", goal="recall=0.9")
    exported = export_run(runs["odd"], materials, tmp_path / "out", settings=settings)
    manifest, truth = exported.manifest, materials.labels["validation"]
    said = open_bundle(exported.path).predict(materials.words("validation")).labels
    assert manifest.bundle_scores[0].macro_f1 == pytest.approx(macro_f1(np.eye(2)[said], truth))
    assert manifest.threshold is not None
    toxic = materials.label_names.index("toxic")
    assert manifest.threshold.recall == pytest.approx((said[truth == toxic] == toxic).mean())
    assert manifest.threshold.recall >= manifest.threshold.at_least == 0.9


def test_an_int8_bundle_keeps_the_labels_and_holds_nothing_for_transformers(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    exported = export_run(runs["teacher"], materials, tmp_path / "out", settings=INT8)
    assert exported.manifest.parity is not None
    assert exported.manifest.parity.same_labels >= 0.99
    assert exported.manifest.parity.largest_logit_difference > 1e-4  # it truly is another model
    assert set(exported.manifest.files) == {"README.md", "model.onnx", "tokenizer.json"}


def test_a_pruned_bundle_is_smaller_says_the_same_and_still_loads_in_transformers(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    settings = ExportSettings(precision="fp32", prune_vocabulary=True)
    manifest = export_run(runs["odd"], materials, tmp_path / "out", settings=settings).manifest
    assert manifest.vocabulary_pruned_from == tiny_tokenizer().get_vocab_size()
    assert manifest.vocabulary is not None
    assert manifest.vocabulary < manifest.vocabulary_pruned_from
    assert manifest.parity is not None
    assert manifest.parity.same_labels >= 0.99
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", local_files_only=True)
    assert model.config.vocab_size == len(tokenizer) == manifest.vocabulary
    tokens = tokenizer(["you stupid dog"], return_tensors="pt")
    with torch.inference_mode():
        logits = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
    assert np.abs(open_bundle(tmp_path / "out").logits(["you stupid dog"]) - logits.numpy()).max() < 1e-5


@pytest.mark.parametrize("settings", [FP32, INT8], ids=["fp32", "int8"])
def test_a_sabotaged_matrix_is_noticed_and_nothing_is_left(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path, settings: ExportSettings
) -> None:
    run, is_int8 = runs["teacher"], settings.precision == "int8"
    graph = export_graph(load_trained(run.folder / "model"))
    wrong = sabotaged(graph, factor=-20.0 if is_int8 else 1.5)
    rows = rows_of(run, materials)
    good, bad = (draft_of(run, materials, quantized(made) if is_int8 else made, settings) for made in (graph, wrong))
    far_off = r"same labels \d+\.\d+ %, at least 99 % is needed; macro-F1 0" if is_int8 else "logits differ by up to"
    with pytest.raises(ParityError, match=far_off):
        build_bundle(bad, rows, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    build_bundle(good, rows, tmp_path / "out")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_permuted_classes_are_noticed(runs: dict[str, RunRecord], materials: Materials, precision) -> None:
    run = runs["odd"]
    settings = ExportSettings(precision=precision)
    draft = draft_of(run, materials, export_graph(load_trained(run.folder / "model")), settings)
    rows = rows_of(run, materials)
    with pytest.raises(ParityError, match=r"same labels 0\.00 %"):
        measured(draft, rows, logits=rows.trained_logits[:, ::-1])


def test_a_failed_export_leaves_the_bundle_that_was_there(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    out = save_tiny_bundle(tmp_path / "out")
    before = (out / "bundle-id").read_text()
    with pytest.raises(BundleError, match="is there already"):
        export_run(runs["odd"], materials, out, settings=FP32)
    run = runs["odd"]
    wrong = sabotaged(export_graph(load_trained(run.folder / "model")), factor=1.5)
    with pytest.raises(ParityError):
        build_bundle(draft_of(run, materials, wrong, FP32), rows_of(run, materials), out, replace=True)
    assert (out / "bundle-id").read_text() == before
    exported = export_run(run, materials, out, settings=FP32, replace=True)
    assert (out / "bundle-id").read_text().strip() == exported.bundle_id != before.strip()


def test_a_goal_that_no_threshold_reaches_is_refused_and_nothing_is_left(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    run = runs["odd"]
    draft = draft_of(run, materials, export_graph(load_trained(run.folder / "model")), FP32)
    aimed = replace(draft, aim=draft.aim._replace(goal="precision", at_least=1.0))
    rows = rows_of(run, materials)
    surest = rows.trained_logits[:, materials.label_names.index("toxic")].argmax()
    lying = replace(rows, labels=np.where(np.arange(len(rows.labels)) == surest, 1 - rows.labels, rows.labels))
    with pytest.raises(ConfigError, match=r"precision=1.*no threshold reaches it"):
        build_bundle(aimed, lying, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_no_file_of_a_bundle_names_a_folder_of_this_machine(
    runs: dict[str, RunRecord], materials: Materials, home: Path, tmp_path: Path
) -> None:
    export_run(runs["lora"], materials, tmp_path / "out", settings=FP32)
    repository = Path(__file__).parents[1]
    for path in (tmp_path / "out").iterdir():
        for place in (home, tmp_path, repository, Path(torch.__file__).parents[1]):
            assert str(place).encode() not in path.read_bytes(), path.name


def test_adapters_that_say_something_else_once_merged_are_refused(
    runs: dict[str, RunRecord], materials: Materials
) -> None:
    one, other = (load_trained(runs[method].folder / "model") for method in ("teacher", "odd"))
    assert require_same_when_merged(one, one, materials) == 0
    with pytest.raises(ParityError, match="merging the adapters changed the logits"):
        require_same_when_merged(one, other, materials)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_operations_of_a_text_are_a_quadratic_function_of_its_tokens(tmp_path: Path, family: str) -> None:
    encoder = save_tiny_encoder(tmp_path / family, family)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, attn_implementation="eager").eval()
    work = count_work(model)
    assert work.operations(29) == pytest.approx(count_operations(model, tokens=29), rel=1e-9)
    assert work.per_token > 0


def test_the_operations_of_a_layer_are_those_of_its_matrices(tmp_path: Path) -> None:
    shallow, deep = (
        AutoModelForSequenceClassification.from_pretrained(save_tiny_encoder(tmp_path / str(layers), layers=layers))
        for layers in (2, 3)
    )
    # Q, K, V, output: 32 x 32 each; inner and outer: 32 x 64; scores and mixing: 32 each for every pair of tokens.
    assert count_work(deep).per_token - count_work(shallow).per_token == 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert count_work(deep).per_token_squared - count_work(shallow).per_token_squared == 2 * (2 * 32)


def test_the_card_is_one_that_the_hub_reads_with_the_scores_in_it(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    manifest = export_run(runs["odd"], materials, tmp_path / "out", settings=FP32).manifest
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.base_model is None  # a folder of this machine is no name on the hub
    test = manifest.scores[1]
    assert {(found.metric_name, found.metric_value) for found in card.data.eval_results} == {
        ("macro-F1", round(test.macro_f1, 4)),
        ("accuracy", round(test.accuracy, 4)),
    }
    assert "made of layers 1 and 3 of its fine-tuned teacher" in card.text
    assert "chosen for the best F1" in card.text
    assert "distilora serve THIS_FOLDER" in card.text


def test_a_bundle_has_its_own_card_and_not_that_of_the_trained_model(
    runs: dict[str, RunRecord], materials: Materials, tmp_path: Path
) -> None:
    theirs = runs["odd"].folder / "model" / "README.md"
    theirs.write_text("---\ntags:\n- distilora\n---\n\n# The card of the trained model\n")
    export_run(runs["odd"], materials, tmp_path / "out", settings=FP32)
    theirs.unlink()
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert "The card of the trained model" not in card.text
    assert {"distilora", "onnx", "fp32"} <= set(card.data.tags)


def test_foreign_names_cannot_write_markdown_or_front_matter_into_the_card(tmp_path: Path) -> None:
    nasty = "a|b <script> *x* [l](u)\n---\nlicense: mit\n# head `c`"
    manifest = _manifest_with_labels(tmp_path, ("civil", nasty))
    origin = manifest.origin.model_copy(update={"data_source": nasty}) if manifest.origin else None
    text = model_card(manifest.model_copy(update={"origin": origin}), CardFacts(part_rows={"train": 5}))
    card = ModelCard(text)
    assert getattr(card.data, "license", None) is None
    assert r"a\|b \<script\> \*x\* \[l\](u) --- license: mit # head \`c\`" in card.text
    assert "\n# head" not in card.text
    assert "\n---\n" not in card.text


def _manifest_with_labels(folder: Path, labels: tuple[str, ...]) -> Manifest:
    threshold = Threshold(value=0.5, goal="f1", precision=1, recall=1, f1=1)
    manifest = open_bundle(save_tiny_bundle(folder / "out")).manifest
    parity = Parity(rows=5, largest_logit_difference=0, same_labels=1, macro_f1_trained=1, macro_f1_bundle=1)
    found = {"labels": labels, "positive": labels[1:], "threshold": threshold, "parity": parity}
    return manifest.model_copy(update=found)  # the card trusts no check that stands before it


def test_the_logits_of_the_trained_model_are_those_that_its_run_stored(
    runs: dict[str, RunRecord], materials: Materials
) -> None:
    for run in runs.values():
        logits = compute_logits(trained_model(run, materials), materials.texts["validation"])
        assert np.abs(logits - read_logits(run.folder)["validation"]).max() < 1e-5
