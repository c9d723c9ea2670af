from __future__ import annotations

import functools
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from distilora.data.tokens import EncodedTexts
from distilora.export import smoothing
from distilora.export.graphs import export_graph
from distilora.export.lean_graphs import lean_graph
from distilora.export.parts import take_apart
from distilora.export.quantization import quantized
from distilora.export.smoothing import find_outliers
from distilora.models.encoders import find_encoder, load_classifier
from distilora.models.layers import layer_numbers
from distilora.models.students import build_student
from tiny import FAMILIES, save_tiny_encoder

LEAN = ("bert", "roberta", "electra", "distilbert")


def classifier(folder: Path, family: str, *, layers: int = 4):
    encoder = find_encoder(str(save_tiny_encoder(folder, family, layers=layers)))
    model, _ = load_classifier(encoder, labels=("civil", "rude", "toxic"), seed=3)
    with torch.no_grad():
        for name, weights in model.named_parameters():  # biases start at 0, which would hide a lost one
            if name.endswith("bias"):
                weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(5)) * 0.3)
    return model.eval()


def batch(model, rows: int, tokens: int, *, seed: int = 0):
    """Return ids and mask of shape (rows, tokens), each row but the first with some padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 70, (rows, tokens), generator=generator)
    lengths = torch.randint(2, tokens + 1, (rows,), generator=generator)
    lengths[0] = tokens
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    return ids.masked_fill(mask == 0, model.config.pad_token_id), mask


def run(graph: onnx.ModelProto, ids, mask):
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]


@functools.cache
def made(family: str):
    """Return a classifier of each family and its graph; tracing takes seconds a layer, so each is made once."""
    # Of ModernBERT's layers the first looks at all tokens and the second at those around.
    layers = 4 if family in LEAN else 2
    with tempfile.TemporaryDirectory() as folder:
        model = classifier(Path(folder), family, layers=layers)
    return model, export_graph(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_graph_repeats_the_logits_of_its_model_at_any_batch_and_length(family):
    model, graph = made(family)
    for rows, tokens in ((1, 2), (1, 9), (4, 23), (7, 64)):
        ids, mask = batch(model, rows, tokens)
        with torch.no_grad():
            expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
        found = run(graph, ids, mask)
        assert found.shape == expected.shape
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", LEAN)
def test_students_of_the_usual_families_get_the_lean_graph(tmp_path, family):
    model = classifier(tmp_path, family)
    student = build_student(model, layer_numbers("odd", 4)).eval()
    ids, mask = batch(model, 3, 12)
    with torch.no_grad():
        expected = student(input_ids=ids, attention_mask=mask).logits.numpy()
    graph = lean_graph(student)
    assert graph is not None
    assert run(graph, ids, mask) == pytest.approx(expected, abs=1e-4)


def test_a_family_whose_head_reads_more_than_the_first_token_is_left_to_the_exporter(tmp_path):
    assert lean_graph(classifier(tmp_path, "modernbert")) is None


def test_padding_changes_no_logit(tmp_path):
    model = classifier(tmp_path, "bert")
    graph = export_graph(model)
    ids, mask = batch(model, 1, 8)
    wider = torch.nn.functional.pad(ids, (0, 9)), torch.nn.functional.pad(mask, (0, 9))
    assert run(graph, *wider) == pytest.approx(run(graph, ids, mask), abs=1e-6)


def texts_of(model):
    """Return some texts as ids, the outliers of which are to be found."""
    ids, mask = batch(model, 20, 24)
    lengths = mask.sum(dim=1).numpy()
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return EncodedTexts(ids=ids[mask.bool()].numpy(), starts=starts, pad_id=model.config.pad_token_id)


def with_outliers(folder: Path, family: str):
    """Return a classifier of four layers in which few channels are far larger than all others, as in trained ones."""
    model = classifier(folder, family)
    with torch.no_grad():
        for layer in take_apart(model).layers:
            layer.attention_norm.weight[3] *= 30
            layer.norm.weight[5] *= 20
            layer.inner.weight[7] *= 30
    return model


@pytest.mark.parametrize("family", LEAN)
def test_moving_outliers_changes_no_logit(tmp_path, family, monkeypatch):
    monkeypatch.setattr(smoothing, "_APART", 5)  # few enough for layers as narrow as these
    model = with_outliers(tmp_path, family)
    graph = export_graph(model, peaks=find_outliers(model, texts_of(model)))
    ids, mask = batch(model, 5, 20)
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
    assert run(graph, ids, mask) == pytest.approx(expected, abs=1e-3)
    assert len(graph.graph.node) > len(export_graph(model).graph.node)


def test_moving_outliers_lowers_the_error_of_int8(tmp_path, monkeypatch):
    monkeypatch.setattr(smoothing, "_APART", 5)
    model = with_outliers(tmp_path, "bert")
    ids, mask = batch(model, 16, 30, seed=1)
    peaks = find_outliers(model, texts_of(model))
    exact = run(export_graph(model), ids, mask)
    plain, moved = (
        np.sqrt(((run(quantized(graph), ids, mask) - exact) ** 2).mean())
        for graph in (export_graph(model), export_graph(model, peaks=peaks))
    )
    assert moved < 0.7 * plain


def test_outliers_are_the_largest_magnitudes_that_a_map_reads(tmp_path):
    model = classifier(tmp_path, "bert")
    texts = texts_of(model)
    with torch.no_grad():
        states = [
            model.bert.embeddings(torch.from_numpy(texts.ids[start:end])[None]) for start, end in pairwise(texts.starts)
        ]
    expected = torch.cat([state[0] for state in states]).abs().amax(dim=0).numpy()
    peaks = find_outliers(model, texts)
    assert peaks["bert.encoder.layer.0.attention.self.query"] == pytest.approx(expected, abs=1e-5)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_positions_behind_the_longest_input_are_left_out(tmp_path):
    model = classifier(tmp_path, "bert")
    ids, mask = batch(model, 2, 16)
    short = export_graph(model, max_length=16)
    assert run(short, ids, mask) == pytest.approx(run(export_graph(model), ids, mask), abs=1e-6)
    assert short.ByteSize() < export_graph(model).ByteSize()


def test_a_traced_graph_holds_no_path_of_the_machine_that_made_it():
    content = made("modernbert")[1].SerializeToString()
    assert b"site-packages" not in content
    assert str(Path.home()).encode() not in content or Path.home() == Path("/")


def test_weights_keep_to_seven_bits_so_that_processors_without_vnni_cannot_overflow(tmp_path):
    int8 = quantized(export_graph(classifier(tmp_path, "bert")))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    products = [node for node in int8.graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == 4 * 6 + 1  # of each layer 6, and the pooler
    for node in products:
        weights = constants[node.input[1]]
        assert weights.dtype == np.int8
        # The largest sum of two products of an unsigned 8-bit activation and a weight must fit in 16 bits.
        assert 2 * 255 * np.abs(weights.astype(int)).max() <= np.iinfo(np.int16).max


def test_weights_have_one_scale_a_column(tmp_path):
    model = classifier(tmp_path, "bert")
    with torch.no_grad():  # one column far larger than all others, which a common scale would flatten
        model.bert.encoder.layer[0].intermediate.dense.weight[0] *= 1000
    int8 = quantized(export_graph(model))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    shapes = {
        constants[node.input[1]].shape: np.abs(constants[node.input[1]]).max(axis=0)
        for node in int8.graph.node
        if node.op_type == "MatMulInteger"
    }
    assert (shapes[32, 64] >= 60).all()


def test_int8_stays_near_the_float_graph_and_is_smaller(tmp_path):
    model = classifier(tmp_path, "bert")
    graph = export_graph(model)
    int8 = quantized(graph)
    ids, mask = batch(model, 8, 30)
    exact = run(graph, ids, mask)
    assert np.abs(run(int8, ids, mask) - exact).max() < 0.1 * np.abs(exact).max()
    assert int8.ByteSize() < 0.6 * graph.ByteSize()


def test_quantising_leaves_the_given_graph_as_it_was(tmp_path):
    graph = export_graph(classifier(tmp_path, "bert"))
    before = graph.SerializeToString(deterministic=True)
    quantized(graph)
    assert graph.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("family", ["modernbert", "deberta-v2", "roberta"])
def test_other_families_are_quantised_too(family):
    model, graph = made(family)
    ids, mask = batch(model, 4, 16)
    exact = run(graph, ids, mask)
    assert np.abs(run(quantized(graph), ids, mask) - exact).max() < 0.25 * np.abs(exact).max()
