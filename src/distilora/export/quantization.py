"""A float32 graph with its weights in eight bits."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic

_OPERATORS = ["MatMul", "Gemm", "Gather"]


def quantized(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph whose weight matrices are int8; activations are quantised as it runs.

    Weights are symmetric, one scale a column, from -64 to 63: the seventh bit is left out so that two products of
    weight and activation fit in the 16 bits in which processors without VNNI add them up. On those with VNNI or AMX it
    costs no time, so that one file is right on all. The last matrix stays in float32.

    Args:
        graph: as :func:`distilora.export.graphs.export_graph` returns it; left as it is.

    Source:
        https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html ("reduce range").
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(graph)
    del plain.graph.value_info[:]  # as the exporter leaves them, shape inference fails on them
    with tempfile.TemporaryDirectory() as folder, _quietly():
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(plain, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_left_in_float(plain),
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
        )
        return onnx.load(target)


def _left_in_float(model: onnx.ModelProto) -> list[str]:
    """Return the names of the product that makes the logits, and of what picks from a list of numbers."""
    sizes = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in sizes]
    picks = [node for node in model.graph.node if node.op_type == "Gather" and sizes.get(node.input[0]) == 1]
    return [node.name for node in (products[-1], *picks)]


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence advice to prepare the graph in ways that change nothing here."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
