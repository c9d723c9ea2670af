"""ONNX Runtime sessions: verified bytes of a model in, logits out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from distilora.bundles.outside_data import has_outside_data
from distilora.data.faults import first_line, shown
from distilora.errors import BundleError

_Put = tuple[str, str, list[bool]]
"""Name and type of an input or output, and which of its sizes are free."""
_INPUTS: list[_Put] = [(name, "tensor(int64)", [True, True]) for name in ("attention_mask", "input_ids")]
_OUTPUT = ("logits", "tensor(float)")
# Fatal errors only: what goes wrong is told by a BundleError.
_QUIET = 4


class Session:
    """A model ready to run; any number of threads may use it at once.

    Args:
        model: the bytes of an ONNX file.
        classes: how many logits it must give.
        where: how error messages name the file.

    Raises:
        BundleError: ONNX Runtime cannot open it, it names data outside itself, or its inputs and output are not
            ``input_ids`` and ``attention_mask`` (int64) and ``logits`` (float32), all (batch, something).
    """

    def __init__(self, model: bytes, *, classes: int, where: str) -> None:
        self._where = where
        self._classes = classes
        _require_whole(model, where)
        try:
            self._session = _opened(model)
            inputs, outputs = _described(self._session.get_inputs()), _described(self._session.get_outputs())
        except Exception as error:  # its errors have no common parent
            raise BundleError(f"{where}: ONNX Runtime cannot open it: {first_line(error)}") from None
        if sorted(inputs) != _INPUTS:
            raise self._misfit("inputs input_ids and attention_mask, int64 (batch, tokens)", inputs)
        # Shapes guessed for outputs can be wrong; every run looks at the real one.
        if [put[:2] for put in outputs] != [_OUTPUT]:
            raise self._misfit(f"one output logits, float32 (batch, {classes})", outputs)

    def logits(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits of one batch, shape (texts, classes).

        Args:
            ids: shape (texts, tokens).
            mask: 1 on tokens, 0 on padding, same shape.

        Raises:
            BundleError: ONNX Runtime cannot run the model on it, or gives numbers that are none.
        """
        try:
            logits: NDArray[np.float32] = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        except Exception as error:
            raise BundleError(f"{self._where}: ONNX Runtime cannot run it: {first_line(error)}") from None
        if logits.shape != (len(ids), self._classes):
            raise BundleError(f"{self._where}: gives logits of shape {logits.shape}, not {(len(ids), self._classes)}")
        if not np.isfinite(logits).all():
            raise BundleError(f"{self._where}: gives logits that are infinite or no numbers")
        return logits

    def _misfit(self, needed: str, found: list[_Put]) -> BundleError:
        names = shown([f"{name}: {kind}" for name, kind, _ in found])
        return BundleError(f"{self._where}: needs the {needed}, but has {names}; export it again")


def _opened(model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    # Many batches on one thread each are a third faster than one batch at a time on all threads.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return onnxruntime.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        # On processors its fused kernel is slower than the two that it replaces: 15 % of the whole model.
        disabled_optimizers=["SkipLayerNormFusion"],
        # It would print its errors and try the same again.
        enable_fallback=False,
        # A model may bring settings of its own, one of which writes a file.
        read_config_from_model=False,
    )


def _require_whole(model: bytes, where: str) -> None:
    try:
        outside = has_outside_data(model)
    except ValueError as error:
        raise BundleError(f"{where}: is no ONNX file: {error}") from None
    if outside:
        raise BundleError(f"{where}: names weights outside itself; a bundle's model must hold all its weights")


def _described(puts: Iterable[Any]) -> list[_Put]:
    return [(put.name, put.type, [not isinstance(size, int) for size in put.shape]) for put in puts]
