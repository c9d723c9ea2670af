"""ONNX graphs that grow node by node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 20
_IR_VERSION = 10
ACTIVATIONS: Mapping[str, tuple[str, dict[str, str]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}


class GraphBuilder:
    """An ONNX graph that grows node by node; values are known by their names."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Return the name of a new node's output."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Return the name of a constant; the same name is the same constant."""
        self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def integers(self, *values: int) -> str:
        """Return the name of a constant list of integers."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def weight(self, value: NDArray[np.float32]) -> str:
        """Return the name of a constant that nothing else shares."""
        return self.constant(f"weight_{len(self._constants)}", value)

    def linear(  # noqa: PLR0913 - all parts of one product
        self,
        hidden: str,
        linear: nn.Linear,
        *,
        scale: float = 1.0,
        rows: NDArray[np.float32] | None = None,
        columns: NDArray[np.int64] | None = None,
        taken: NDArray[np.int64] | None = None,
        biased: bool = True,
    ) -> str:
        """Return (hidden·Wᵀ + b)·scale, or a part of it.

        Args:
            hidden: the input, channels last.
            linear: W and b.
            scale: of the whole.
            rows: scale of each input channel, by which ``hidden`` was divided.
            columns: the output channels to compute; absent: all.
            taken: the input channels that ``hidden`` holds; absent: all.
            biased: whether b is added.
        """
        weights, bias = array_of(linear.weight).T * np.float32(scale), array_of(linear.bias) * np.float32(scale)
        weights = weights if rows is None else weights * rows[:, None]
        weights = weights if taken is None else weights[taken]
        weights, bias = (weights, bias) if columns is None else (weights[:, columns], bias[columns])
        product = self.add("MatMul", hidden, self.weight(weights))
        return self.add("Add", product, self.weight(bias)) if biased else product

    def normed(self, hidden: str, norm: nn.LayerNorm, *, scale: NDArray[np.float32] | float = 1.0) -> str:
        """Return the layer norm over the last axis, each channel times its ``scale``."""
        gain, shift = (self.weight((array_of(part) * scale).astype(np.float32)) for part in (norm.weight, norm.bias))
        return self.add("LayerNormalization", hidden, gain, shift, axis=-1, epsilon=norm.eps)

    def activate(self, hidden: str, activation: str) -> str:
        """Return an activation by its name in a configuration."""
        operator, attributes = ACTIVATIONS[activation]
        return self.add(operator, hidden, **attributes)

    def model(self, logits: str, *, labels: int) -> onnx.ModelProto:
        """Return the finished model, checked."""
        self._nodes.append(helper.make_node("Identity", [logits], ["logits"], name="logits"))
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])
        graph = helper.make_graph(self._nodes, "classifier", inputs, [output], list(self._constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="distilora")
        onnx.checker.check_model(model)
        return model


def array_of(weights: Tensor) -> NDArray[np.float32]:
    """Return a tensor as an array in float32."""
    array: NDArray[np.float32] = weights.detach().float().cpu().numpy()
    return array
