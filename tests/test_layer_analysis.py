"""What a teacher's layers know: states, similarities, probes, layers left out, and the record that keeps them."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from distilora.analysis.layers import analyse_experiment, analyse_layers
from distilora.analysis.left_out import can_leave_out_layers, logits_without_layers
from distilora.analysis.probes import probe_predictions
from distilora.analysis.records import LAYERS_FILE, AnalysisSettings, LayerAnalysis, read_analysis, write_analysis
from distilora.config import ExperimentSettings
from distilora.data.tokens import EncodedTexts, chosen_texts
from distilora.errors import DistiloraError, ModelError, RunError, VoidRunError
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.runner import run_methods
from distilora.models.encoders import find_encoder, load_classifier
from distilora.models.inference import compute_logits
from distilora.models.layers import layer_stack
from distilora.models.similarity import cka_matrix, linear_cka
from distilora.models.states import layer_vectors
from distilora.models.students import build_student
from distilora.models.weights import weights_hash
from distilora.report.plots.layers import layer_scores, layer_similarities
from distilora.runs import RunRecord
from tiny import FAMILIES, save_tiny_encoder
from tiny_experiment import tiny_settings
from training_cases import rows as labelled_rows

Array = NDArray[np.float64]
DEPTH = 4


def texts(count: int = 9) -> EncodedTexts:
    return labelled_rows(count, seed=3).texts


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedModel]:
    folder = tmp_path_factory.mktemp("encoders")
    return {
        family: load_classifier(
            find_encoder(str(save_tiny_encoder(folder / family, family, layers=DEPTH))), labels=("civil", "toxic")
        ).model
        for family in FAMILIES
    }


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ExperimentSettings:
    return tiny_settings(tmp_path_factory.mktemp("tiny"), epochs=2, run=["teacher", "odd", "lora"])


@pytest.fixture(scope="module")
def materials(settings: ExperimentSettings) -> Materials:
    return prepare(settings)


@pytest.fixture(scope="module")
def made(materials: Materials, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment") / "tiny"
    run_methods(materials, folder)
    return folder


@pytest.fixture
def records(made: Path, materials: Materials, tmp_path: Path) -> list[RunRecord]:
    """The same runs, in a folder that nobody has analysed."""
    shutil.copytree(made, tmp_path / "tiny")
    return run_methods(materials, tmp_path / "tiny")


def named(records: list[RunRecord], method: str) -> RunRecord:
    return next(record for record in records if record.result.method == method)


# --- states ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_the_hidden_states_that_transformers_gives(
    family: str, classifiers: dict[str, PreTrainedModel]
) -> None:
    model, batch = classifiers[family], texts()
    found = layer_vectors(model, batch)
    for row in range(len(batch)):
        ids, mask = batch.padded([row])  # alone, with hardly any padding: an independent way to the same vectors
        with torch.inference_mode():
            output = model.base_model(torch.from_numpy(ids), torch.from_numpy(mask), output_hidden_states=True)
        # transformers gives ModernBERT's last state after the norm that follows the layers.
        states = output.hidden_states[: DEPTH if family == "modernbert" else DEPTH + 1]
        for number, state in enumerate(states):
            tokens = state[0, : batch.lengths[row]].numpy()
            np.testing.assert_allclose(found["first"][number, row], tokens[0], atol=2e-5)
            np.testing.assert_allclose(found["mean"][number, row], tokens.mean(axis=0), atol=2e-5)


def test_modernberts_last_layer_is_seen_before_the_norm_that_follows(classifiers: dict[str, PreTrainedModel]) -> None:
    model, batch = classifiers["modernbert"], texts(1)
    ids, mask = (torch.from_numpy(array) for array in batch.padded([0]))
    with torch.inference_mode():
        normed = model.base_model(ids, mask).last_hidden_state[0, 0].numpy()
        seen = model.model.final_norm(torch.from_numpy(layer_vectors(model, batch)["first"][DEPTH, 0])).numpy()
    np.testing.assert_allclose(seen, normed, atol=1e-5)


# --- layers left out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_without_a_layer_are_those_of_a_model_really_cut(
    family: str, classifiers: dict[str, PreTrainedModel]
) -> None:
    model, batch = classifiers[family], texts()
    before = weights_hash(model)
    found = logits_without_layers(model, batch)
    assert sorted(found) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(found.pop(0), compute_logits(model, batch), atol=2e-5)
    for number, logits in found.items():
        if family == "modernbert" and number == 1:
            continue  # a student that begins with its second layer drops that layer's norm; see the next test
        cut = build_student(model, [layer for layer in range(1, DEPTH + 1) if layer != number])
        np.testing.assert_allclose(logits, compute_logits(cut, batch), atol=2e-5)
    assert weights_hash(model) == before
    assert len(layer_stack(model)) == DEPTH


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_leaving_out_a_layer_passes_its_input_on(family: str, classifiers: dict[str, PreTrainedModel]) -> None:
    model, batch = classifiers[family], texts()
    found = logits_without_layers(model, batch)
    for number, layer in enumerate(layer_stack(model), start=1):
        hook = layer.register_forward_hook(lambda _, args, __: args[0])
        try:
            expected = np.concatenate([_plain_logits(model, batch, row) for row in range(len(batch))])
        finally:
            hook.remove()
        np.testing.assert_allclose(found[number], expected, atol=2e-5)


def _plain_logits(model: PreTrainedModel, batch: EncodedTexts, row: int) -> NDArray[np.float32]:
    ids, mask = (torch.from_numpy(array) for array in batch.padded([row]))
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask).logits.numpy()


def test_an_only_layer_and_layers_with_a_convolution_between_cannot_be_left_out(
    classifiers: dict[str, PreTrainedModel], tmp_path: Path
) -> None:
    one = load_classifier(find_encoder(str(save_tiny_encoder(tmp_path, layers=1))), labels=("civil", "toxic")).model
    config = copy.deepcopy(classifiers["deberta-v2"].config)
    config.conv_kernel_size = 3
    for model in (one, AutoModelForSequenceClassification.from_config(config)):
        assert not can_leave_out_layers(model)
        with pytest.raises(ModelError, match="none can be left out"):
            logits_without_layers(model, texts())
    assert all(map(can_leave_out_layers, classifiers.values()))


# --- similarity -----------------------------------------------------------------------------------------------------


def gram_cka(first: Array, second: Array) -> float:
    """Linear CKA of Song et al.'s unbiased HSIC (2012, eq. 5), straight from matrices of rows by rows."""

    def hsic(one: Array, other: Array) -> float:
        k, m = one @ one.T, other @ other.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        n, ones = len(k), np.ones(len(k))
        total = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return float(np.trace(k @ m) + total - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))

    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


def layers(count: int, *, rows: int, width: int, seed: int) -> Array:
    """Related layers with a mean that is not 0."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=(rows, 3))
    return np.stack([shared @ draw.normal(size=(3, width)) + draw.normal(size=(rows, width)) + 5 for _ in range(count)])


@given(st.integers(4, 40), st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**31))
def test_cka_agrees_with_its_definition_over_gram_matrices(rows: int, width: int, other: int, seed: int) -> None:
    first, second = layers(1, rows=rows, width=width, seed=seed)[0], layers(1, rows=rows, width=other, seed=seed)[0]
    found = linear_cka(first, second)
    if found is not None:  # few rows may make an estimate of a layer's own HSIC negative
        assert found == pytest.approx(gram_cka(first, second), rel=1e-6, abs=1e-6)


@given(st.integers(0, 2**31), st.floats(0.001, 1000))
def test_cka_ignores_rotation_scale_and_shift(seed: int, scale: float) -> None:
    first, second = layers(2, rows=30, width=8, seed=seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(8, 8)))[0]
    expected = linear_cka(first, second)
    assert linear_cka(scale * first @ rotation + 7, second) == pytest.approx(expected, abs=1e-6)
    assert linear_cka(first, scale * first @ rotation) == pytest.approx(1, abs=1e-6)


def test_cka_sees_a_change_that_is_no_rotation() -> None:
    layer = layers(1, rows=200, width=8, seed=0)[0]
    assert linear_cka(layer, layer * np.geomspace(1, 100, 8)) < 0.9


def test_unrelated_wide_layers_are_not_called_alike() -> None:
    # The plain estimate gives about 0.8 here (Nguyen et al. 2021 say why).
    draw = np.random.default_rng(0)
    assert abs(linear_cka(draw.normal(size=(100, 400)), draw.normal(size=(100, 400)))) < 0.05


def test_cka_of_a_layer_that_never_varies_is_missing() -> None:
    same = np.tile(np.random.default_rng(0).normal(size=6).astype(np.float32), (20, 1))
    rounded = same * (1 + 1e-7 * np.random.default_rng(1).normal(size=(20, 1)).astype(np.float32))
    varied = layers(1, rows=20, width=6, seed=0)[0]
    assert linear_cka(same, varied) is linear_cka(varied, same) is linear_cka(rounded, varied) is None


def test_cka_of_a_model_with_itself_is_symmetric_and_1_on_the_diagonal() -> None:
    stack = layers(3, rows=25, width=7, seed=1)
    own = np.array(cka_matrix(stack), dtype=float)
    np.testing.assert_allclose(own, np.array(cka_matrix(stack, stack), dtype=float), atol=1e-12)
    np.testing.assert_allclose(np.diag(own), 1)


def test_models_of_other_depth_and_width_can_be_compared() -> None:
    deep, narrow = layers(4, rows=25, width=7, seed=1), layers(2, rows=25, width=3, seed=2)
    found = cka_matrix(narrow, deep)
    assert (len(found), len(found[0])) == (2, 4)
    assert found[1][2] == linear_cka(narrow[1], deep[2])


@pytest.mark.parametrize(("one", "other"), [(3, 3), (8, 9)])
def test_rows_that_do_not_match_or_are_too_few_are_refused(one: int, other: int) -> None:
    with pytest.raises(ValueError, match="at least 4"):
        linear_cka(np.eye(one, 5), np.eye(other, 5))


# --- probes ---------------------------------------------------------------------------------------------------------


def test_a_probe_is_the_minimum_of_its_stated_objective() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 120)
    train = draw.normal(size=(120, 4)) * [1, 10, 100, 0.1] + labels[:, None] * [0.5, 3, 0, 0.1] + 2
    others = draw.normal(size=(500, 4)) * [1, 10, 100, 0.1] + 2
    z = (train - train.mean(axis=0)) / train.std(axis=0)
    targets = np.eye(3)[labels]

    def objective(flat: Array) -> float:
        weights, free = flat[:12].reshape(4, 3), flat[12:]
        scores = z @ weights + free
        likelihood = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return float(0.01 * -(targets * likelihood).sum() + 0.5 * (weights**2).sum())

    best = minimize(objective, np.zeros(15), options={"gtol": 1e-7}).x
    scores = (others - train.mean(axis=0)) / train.std(axis=0) @ best[:12].reshape(4, 3) + best[12:]
    first, second = np.sort(scores, axis=1)[:, :-3:-1].T
    sure = first - second > 1e-3
    assert sure.mean() > 0.95
    found = probe_predictions(train, labels, others, strength=0.01)
    np.testing.assert_array_equal(found[sure], scores.argmax(axis=1)[sure])
    assert len(np.unique(found)) == 3


def test_a_probe_of_rounding_errors_knows_only_the_commonest_class() -> None:
    labels = np.array([0, 1, 1] * 20)
    same = np.full((60, 5), 0.7) + 1e-8 * labels[:, None]
    assert probe_predictions(same, labels, same, strength=0.01).tolist() == [1] * 60


def test_a_probe_that_learns_from_one_class_always_says_it() -> None:
    assert probe_predictions(np.eye(3), np.array([2, 2, 2]), np.eye(3), strength=1.0).tolist() == [2, 2, 2]


# --- the whole ------------------------------------------------------------------------------------------------------


def test_an_analysis_holds_every_layer_and_every_model_and_is_kept(
    records: list[RunRecord], materials: Materials
) -> None:
    told: list[str] = []
    (analysis,) = analyse_experiment(records, materials, tell=told.append)
    validation = len(materials.labels["validation"])
    assert (analysis.depth, analysis.pooling, analysis.odd, analysis.even) == (4, "first", (1, 3), (2, 4))
    assert (analysis.validation_rows, analysis.train_rows) == (validation, len(materials.labels["train"]))
    assert [layer.number for layer in analysis.layers] == [0, 1, 2, 3, 4]
    assert [layer.left_out is None for layer in analysis.layers] == [True, False, False, False, False]
    assert [(model.method, model.layers) for model in analysis.compared] == [
        ("odd", (1, 3)),
        ("lora", None),
    ]
    assert [len(model.cka["mean"]) for model in analysis.compared] == [3, 5]
    assert told
    teacher = named(records, "teacher")
    assert read_analysis(teacher.folder) == analysis
    told.clear()
    assert analyse_experiment(records, materials, tell=told.append) == [analysis]
    assert told == []


def test_scores_are_those_of_the_run_and_losses_count_from_them(records: list[RunRecord], materials: Materials) -> None:
    teacher = named(records, "teacher")
    analysis = analyse_layers(teacher, materials)
    evaluation = teacher.result.validation
    assert evaluation is not None
    assert (analysis.accuracy, analysis.macro_f1) == pytest.approx((evaluation.accuracy, evaluation.macro_f1))
    for layer in analysis.layers[1:]:
        lost = layer.left_out
        assert lost is not None
        assert lost.accuracy + lost.accuracy_lost == pytest.approx(analysis.accuracy)
        assert lost.macro_f1 + lost.macro_f1_lost == pytest.approx(analysis.macro_f1)
        assert lost.macro_f1_lost_interval.low <= lost.macro_f1_lost <= lost.macro_f1_lost_interval.high


def test_the_first_tokens_embedding_knows_nothing(records: list[RunRecord], materials: Materials) -> None:
    analysis = analyse_layers(named(records, "teacher"), materials)
    commonest = materials.majority
    probe = analysis.layers[0].probes["first"]
    assert (probe.accuracy, probe.macro_f1) == pytest.approx((commonest.accuracy, commonest.macro_f1))
    assert set(analysis.cka["first"][0]) == {None}


def test_a_model_added_later_is_compared_without_doing_the_rest_again(
    records: list[RunRecord], materials: Materials
) -> None:
    teacher = named(records, "teacher")
    first = analyse_layers(teacher, materials, compared=[named(records, "odd")])
    told: list[str] = []
    both = analyse_layers(
        teacher, materials, compared=[named(records, "lora"), named(records, "odd")], tell=told.append
    )
    assert not any("probes" in line or "left out" in line for line in told)
    assert [model.method for model in both.compared] == ["lora", "odd"]
    assert both.compared[1:] == first.compared
    assert both.model_copy(update={"compared": ()}) == first.model_copy(update={"compared": ()})


@pytest.mark.parametrize("change", ["run", "settings", "damage"])
def test_what_was_kept_of_another_analysis_is_not_used(
    records: list[RunRecord], materials: Materials, change: str
) -> None:
    teacher = named(records, "teacher")
    analysis = analyse_layers(teacher, materials)
    wrong = analysis.model_copy(update={"accuracy": 0.123})
    if change == "run":
        write_analysis(teacher.folder, wrong.model_copy(update={"run_sha256": "0" * 64}))
    elif change == "settings":
        write_analysis(teacher.folder, wrong.model_copy(update={"settings": AnalysisSettings(sample_seed=1)}))
    else:
        (teacher.folder / LAYERS_FILE).write_text(wrong.model_dump_json()[:-9])
    assert analyse_layers(teacher, materials) == analysis


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    assert read_analysis(tmp_path) is None
    (tmp_path / LAYERS_FILE).write_text("{")
    with pytest.raises(RunError, match=r"layers\.json: not readable: .*delete it"):
        read_analysis(tmp_path)


def test_fewer_rows_are_sampled_where_fewer_are_asked_for(records: list[RunRecord], materials: Materials) -> None:
    analysis = analyse_layers(
        named(records, "teacher"), materials, settings=AnalysisSettings(train_rows=100, validation_rows=100)
    )
    assert analysis.train_rows == 100 < len(materials.labels["train"])


def test_a_void_teacher_is_refused_and_a_void_student_left_out(records: list[RunRecord], materials: Materials) -> None:
    teacher, odd = named(records, "teacher"), named(records, "odd")
    void = replace(teacher, result=teacher.result.model_copy(update={"void": "predictions vary: all alike"}))
    with pytest.raises(VoidRunError, match="all alike"):
        analyse_layers(void, materials)
    student = replace(odd, result=odd.result.model_copy(update={"void": "finite loss: nan"}))
    assert analyse_layers(teacher, materials, compared=[student]).compared == ()
    assert analyse_experiment([void, odd], materials) == []


@pytest.mark.parametrize(("part", "problem"), [("data", "other comments"), ("encoder", "another encoder")])
def test_a_run_of_something_else_is_refused(
    records: list[RunRecord], materials: Materials, part: str, problem: str
) -> None:
    odd = named(records, "odd")
    other = getattr(odd.result, part).model_copy(update={"sha256": "0" * 64})
    foreign = replace(odd, result=odd.result.model_copy(update={part: other}))
    with pytest.raises(RunError, match=problem):
        analyse_layers(named(records, "teacher"), materials, compared=[foreign])


def test_chosen_texts_score_as_they_do_among_all(classifiers: dict[str, PreTrainedModel]) -> None:
    batch, rows = texts(), np.array([1, 4, 8])
    few = compute_logits(classifiers["bert"], chosen_texts(batch, rows))
    np.testing.assert_allclose(few, compute_logits(classifiers["bert"], batch)[rows], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_moves_similarities_by_less_than_a_hundredth(
    family: str, classifiers: dict[str, PreTrainedModel]
) -> None:
    model, batch = classifiers[family], texts(60)
    exact = layer_vectors(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, logits = layer_vectors(model, batch), logits_without_layers(model, batch)
    for pooling, vectors in rounded.items():
        assert vectors.dtype == np.float32
        assert not np.array_equal(vectors, exact[pooling])
        same, other = (np.array(cka_matrix(found[pooling]), dtype=float) for found in (exact, rounded))
        np.testing.assert_allclose(other[1:, 1:], same[1:, 1:], atol=1e-2)
    assert all(scores.dtype == np.float32 for scores in logits.values())


def test_an_analysis_computes_in_the_precision_and_with_the_threads_of_training(
    records: list[RunRecord], materials: Materials
) -> None:
    exact = analyse_layers(named(records, "teacher"), materials, settings=AnalysisSettings(validation_rows=100))
    training = {**materials.settings.training, "precision": "bf16"}
    half = replace(materials, settings=materials.settings.model_copy(update={"training": training}))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # the experiment asks for 1
        rounded = analyse_layers(named(records, "teacher"), half)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (exact.precision, rounded.precision) == ("fp32", "bf16")
    for layer in rounded.layers[1:]:
        assert layer.left_out is not None
        assert layer.left_out.macro_f1 + layer.left_out.macro_f1_lost == pytest.approx(rounded.macro_f1)


def test_each_teacher_is_told_of_once_and_only_where_there_was_work(
    records: list[RunRecord], materials: Materials
) -> None:
    told: list[str] = []
    analyse_experiment(records, materials, tell=told.append)
    assert told[0].startswith("layers of teacher seed 0: states of ")
    assert [line for line in told if line.startswith("1/")] == ["1/1 layers of teacher seed 0"] == told[-1:]
    there = len(told)
    shutil.rmtree(named(records, "teacher").folder / "model")  # what is known needs no model
    assert len(analyse_experiment(records, materials, tell=told.append)[0].compared) == 2
    assert len(told) == there


def test_a_family_that_is_not_known_is_an_error_that_a_caller_can_catch(
    records: list[RunRecord], materials: Materials
) -> None:
    config = named(records, "teacher").folder / "model" / "config.json"
    config.write_text(config.read_text().replace('"model_type": "bert"', '"model_type": "albert"'))
    with pytest.raises(DistiloraError, match="albert"):
        analyse_experiment(records, materials)


# --- figures --------------------------------------------------------------------------------------------------------


def test_figures_show_every_layer_and_every_model_and_repeat_their_bytes(
    records: list[RunRecord], materials: Materials, tmp_path: Path
) -> None:
    (analysis,) = analyse_experiment(records, materials)
    scores, maps = layer_scores(analysis), layer_similarities(analysis, pooling="first")
    for text in ("taken by odd", "taken by even", "embeddings", f"whole teacher {analysis.macro_f1:.3f}"):
        assert text in scores
    for text in (">teacher<", ">odd<", ">lora<", ">2 (was 3)<", ">—<"):
        assert text in maps
    assert (layer_scores(analysis), layer_similarities(analysis, pooling="first")) == (scores, maps)


def test_a_teacher_whose_layers_cannot_be_left_out_still_has_a_figure(
    records: list[RunRecord], materials: Materials
) -> None:
    analysis = analyse_layers(named(records, "teacher"), materials)
    bare = tuple(layer.model_copy(update={"left_out": None}) for layer in analysis.layers)
    unknown: LayerAnalysis = analysis.model_copy(update={"layers": bare})
    assert layer_scores(unknown).startswith("<?xml")
