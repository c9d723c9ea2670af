"""A trained classifier as an ONNX graph."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.data.faults import first_line
from distilora.errors import ModelError
from distilora.export.graph_builder import OPSET
from distilora.export.lean_graphs import lean_graph
from distilora.models.first_token import first_token_only

_TRIAL_SHAPE = (3, 17)
"""Neither side may be 0 or 1, which the exporter takes for constants."""


def export_graph(
    model: PreTrainedModel,
    *,
    max_length: int | None = None,
    peaks: Mapping[str, NDArray[np.float32]] | None = None,
) -> onnx.ModelProto:
    """Return a classifier's graph: inputs ``input_ids`` and ``attention_mask``, output ``logits``, all of any batch.

    BERT, RoBERTa, ELECTRA and DistilBERT are laid out by :func:`distilora.export.lean_graphs.lean_graph`, which on
    two cores was about 15 % faster in int8 than the graph of ``torch.onnx.export``; that one serves the others.

    Args:
        model: a plain classifier (LoRA merged), its weights float32 on a processor.
        max_length: longest input in tokens; absent: as long as the model takes.
        peaks: as :func:`distilora.export.smoothing.find_outliers` returns them, for a graph that will be quantised;
            the lean graph alone uses them.

    Returns:
        A graph in float32; inputs int64 of shape (batch, tokens), output float32 of shape (batch, labels).

    Raises:
        ModelError: the model cannot be exported.
    """
    was_training = model.training
    model.eval()
    try:
        return lean_graph(model, max_length=max_length, peaks=peaks) or _traced(model)
    finally:
        model.train(was_training)


class _Logits(nn.Module):
    """A classifier whose output is its logits alone."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def _traced(model: PreTrainedModel) -> onnx.ModelProto:
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    ids = torch.full(_TRIAL_SHAPE, int(model.config.pad_token_id or 0) + 1)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0  # else the exporter could take the mask for absent
    shapes = {name: {0: batch, 1: tokens} for name in ("input_ids", "attention_mask")}
    try:
        with torch.no_grad(), first_token_only(model), _quietly():
            program = torch.onnx.export(
                _Logits(model),
                (ids, mask),
                dynamo=True,
                opset_version=OPSET,
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_shapes=shapes,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as failure:
        raise ModelError(f"{model.config.model_type}: cannot be exported to ONNX: {first_line(failure)}") from None
    assert program is not None  # noqa: S101 - only with dynamo=False there is none
    return _without_metadata(program.model_proto)


def _without_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without the exporter's notes, which hold paths of the machine that it ran on."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    return model


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence what the exporter says of its own making."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
