"""Write src/distilora/bench/int8_matmul.onnx: a product of uint8 by int8 matrices, by which bench measures int8.

It is shipped as a file because distilora's base dependencies can run ONNX but not make it. The right matrix is
constant, as a model's weights are, so that ONNX Runtime packs it once, not in each product; it is tiled from a small
one when the file is opened, which keeps the file small.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

FILE = Path(__file__).parent.parent / "src" / "distilora" / "bench" / "int8_matmul.onnx"
_SIZE, _TILE = 2048, 64


def content() -> bytes:
    """Return the file, the same bytes each time."""
    numbers = np.arange(_TILE * _TILE, dtype=np.int64).reshape(_TILE, _TILE)
    tile = (numbers * 7919 % 8191 % 128 - 64).astype(np.int8)  # spread over seven bits, as in int8 bundles
    graph = helper.make_graph(
        [
            helper.make_node("Tile", ["tile", "times"], ["right"]),
            helper.make_node("MatMulInteger", ["left", "right"], ["product"]),
        ],
        "int8_matmul",
        [helper.make_tensor_value_info("left", TensorProto.UINT8, ["rows", _SIZE])],
        [helper.make_tensor_value_info("product", TensorProto.INT32, ["rows", _SIZE])],
        [
            numpy_helper.from_array(tile, "tile"),
            numpy_helper.from_array(np.array([_SIZE // _TILE] * 2, dtype=np.int64), "times"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="distilora"
    )
    checker.check_model(model)
    written: bytes = model.SerializeToString(deterministic=True)
    return written


if __name__ == "__main__":
    FILE.write_bytes(content())
