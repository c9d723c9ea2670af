"""A float32 graph with its weights in eight bits."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

_OPERATORS = ["MatMul", "Gemm", "Gather"]


def quantized(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph whose weight matrices are int8; activations are quantised as it runs.

    Weights are symmetric, one scale a column, from -64 to 63: the seventh bit is left out so that two products of
    weight and activation fit in the 16 bits in which processors without VNNI add them up. On those with VNNI or AMX it
    costs no time, so that one file is right on all. The last matrix stays in float32; products with one matrix
    for each attention head, which ONNX Runtime cannot compute in int8, store it in float16.

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
        result = onnx.load(target)
    _halve(result)
    return result


def _left_in_float(model: onnx.ModelProto) -> list[str]:
    """Return the names of the products with a matrix for each head, and of the last one of all."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in constants]
    by_head = [node.name for node in products if len(constants[node.input[1]].dims) > 2]
    return [*by_head, *(node.name for node in products[-1:])]


def _halve(model: onnx.ModelProto) -> None:
    """Store the matrices of one for each head in float16, and cast them back as the graph is loaded."""
    used = {node.input[1] for node in model.graph.node if node.op_type == "MatMul" and len(node.input) == 2}
    for tensor in model.graph.initializer:
        if tensor.name not in used or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 3:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_float16"))
        model.graph.node.insert(
            0, helper.make_node("Cast", [tensor.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT)
        )


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
