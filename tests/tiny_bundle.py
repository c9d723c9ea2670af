"""Tiny random bundles, built in code without torch: for tests only."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from distilora.bundles.manifest import Manifest, Member, Origin, Parity, Scores, Threshold, Work
from distilora.bundles.storage import entries_of, write_bundle

WIDTH = 8
"""Of the embeddings."""
_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_WORDS = """
    a about all am and are awful bad better but can civil day did do dog good great hate he hello i idiot idiots in is
    it kind lovely me mean more my nice no not of on out people please rude say she so stupid such thank that the they
    think this to ugly up very was we what with worst you your
"""
_HASH = "5" * 64


def save_tiny_bundle(
    folder: Path,
    *,
    name: str = "odd",
    labels: Sequence[str] = ("civil", "toxic"),
    positive: Sequence[str] = ("toxic",),
    max_length: int = 16,
    seed: int = 0,
    threshold: float = 0.5,
    temperature: float = 1.5,
    extra: Mapping[str, bytes] | None = None,
    replace: bool = False,
    **changes: Any,
) -> Path:
    """Return ``folder``, which now is a bundle with a real tokenizer and a model of random words.

    Args:
        folder: where to write; must not be there yet, unless ``replace``.
        name: the method's name.
        labels: names of the classes.
        positive: those of them that are positive; where none is, there is no threshold.
        max_length: longest input in tokens.
        seed: seed of the weights; equal seeds give equal bundles.
        threshold: on the positive classes' probability.
        temperature: the logits are divided by it.
        extra: more files, by name.
        replace: whether a bundle that is there may be replaced.
        changes: further fields of the manifest, put over these.
    """
    contents = {
        "model.onnx": tiny_graph(labels=len(labels), seed=seed).SerializeToString(),
        "tokenizer.json": tiny_tokenizer().to_str().encode(),
        "README.md": f"# {name}\n\nA tiny random model, for tests.\n".encode(),
        **(extra or {}),
    }
    fields = {
        "name": name,
        "labels": tuple(labels),
        "positive": tuple(positive),
        "threshold": _threshold(threshold) if positive else None,
        "temperature": temperature,
        "max_length": max_length,
        **_about_the_model(len(labels), seed=seed),
        **_scores(),
        "files": entries_of(contents),
        "versions": {"distilora": version("distilora")},
        **changes,
    }
    write_bundle(folder, Manifest(**fields), contents, replace=replace)
    return folder


def save_tiny_ensemble(
    folder: Path,
    members: Mapping[str, Path],
    *,
    labels: Sequence[str] = ("civil", "toxic"),
    positive: Sequence[str] = ("toxic",),
    threshold: float = 0.5,
    replace: bool = False,
    **changes: Any,
) -> Path:
    """Return ``folder``, which now is an ensemble of the bundles ``members``, by name."""
    contents = {"README.md": b"# ensemble\n\nTiny random models, for tests.\n"}
    fields = {
        "kind": "ensemble",
        "name": "ensemble",
        "labels": tuple(labels),
        "positive": tuple(positive),
        "threshold": _threshold(threshold) if positive else None,
        "members": tuple(
            Member(name=name, bundle_id=(path / "bundle-id").read_text().strip()) for name, path in members.items()
        ),
        "bundle_scores": _scores()["bundle_scores"],
        "files": entries_of(contents),
        "versions": {"distilora": version("distilora")},
        **changes,
    }
    write_bundle(folder, Manifest(**fields), contents, members=members, replace=replace)
    return folder


def tiny_tokenizer() -> Tokenizer:
    """Return a lower-case WordPiece tokenizer of 143 tokens, BERT style, [PAD] first; it neither cuts nor pads."""
    pieces = [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    tokens = dict.fromkeys((*_SPECIALS, *_WORDS.split(), *string.ascii_lowercase, *string.digits, *",.!?'", *pieces))
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=_SPECIALS[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(_SPECIALS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def tiny_graph(*, labels: int = 2, seed: int = 0) -> onnx.ModelProto:
    """Return a model whose logits are a linear layer over the mean embedding of a text's tokens.

    Inputs ``input_ids`` and ``attention_mask``, int64, shape (batch, tokens); output ``logits``, float32, shape
    (batch, labels).
    """
    draw = np.random.default_rng(seed)
    weights = {
        "embeddings": draw.normal(size=(tiny_tokenizer().get_vocab_size(), WIDTH)).astype(np.float32),
        "head": draw.normal(scale=2.0, size=(WIDTH, labels)).astype(np.float32),
        "bias": draw.normal(scale=0.1, size=labels).astype(np.float32),
        "last": np.array([-1], dtype=np.int64),
        "tokens_axis": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide_mask"]),
        helper.make_node("Mul", ["embedded", "wide_mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens_axis"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "tokens_axis"], ["tokens"], keepdims=1),
        helper.make_node("Div", ["total", "tokens"], ["mean"]),
        helper.make_node("MatMul", ["mean", "head"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [_shaped(name, TensorProto.INT64, "tokens") for name in ("input_ids", "attention_mask")],
        [_shaped("logits", TensorProto.FLOAT, labels)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _shaped(name: str, kind: int, columns: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", columns])


def _about_the_model(labels: int, *, seed: int) -> dict[str, Any]:
    vocabulary = tiny_tokenizer().get_vocab_size()
    return {
        "precision": "fp32",
        "pad_id": 0,
        "parameters": vocabulary * WIDTH + WIDTH * labels + labels,
        "vocabulary": vocabulary,
        # A token's embedding is masked and added; then the mean and the linear layer.
        "work": Work(constant=WIDTH + 2.0 * WIDTH * labels, per_token=2.0 * WIDTH, per_token_squared=0.0),
        "origin": Origin(
            method="odd",
            kind="student",
            seed=seed,
            layers=(1, 3),
            encoder="tiny",
            encoder_sha256=_HASH,
            family="bert",
            data_source="comments.csv",
            data_sha256=_HASH,
            run_sha256=_HASH,
        ),
    }


def _scores() -> dict[str, Any]:
    parts = ("validation", "test")
    return {
        "scores": tuple(Scores(part=part, rows=40, accuracy=0.85, macro_f1=0.84) for part in parts),
        "bundle_scores": tuple(Scores(part=part, rows=40, accuracy=0.875, macro_f1=0.86) for part in parts),
        "parity": Parity(
            rows=40, largest_logit_difference=2e-6, same_labels=1.0, macro_f1_trained=0.84, macro_f1_bundle=0.84
        ),
    }


def _threshold(value: float) -> Threshold:
    return Threshold(value=value, goal="f1", precision=0.8, recall=0.9, f1=0.847)
