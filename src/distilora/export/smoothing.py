"""What makes a classifier easier to quantise and changes nothing it says: outliers moved or kept apart.

One scale holds for all activations of a batch, so one channel of large values leaves the others with few of the 256
steps; in BERT's layers some channels are 20 times as large as most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.data.tokens import EncodedTexts
from distilora.export.graph_builder import array_of

_TEXTS = 256
_MIGRATION = 0.7
"""How much of the difficulty moves from activations to weights: 0 none, 1 all.

On validation rows of three runs 0.5 to 0.8 gave errors within a tenth of each other.
"""
_APART = 32
"""Channels of a feed-forward layer that are quantised on their own: those with the largest values."""
_SMALLEST = 1e-5


@dataclass(frozen=True)
class Smoothing:
    """Where the outliers of a model's activations are."""

    peaks: Mapping[str, NDArray[np.float32]]
    """Largest magnitude of each input channel of each linear map, by its dotted name."""
    names: Mapping[nn.Module, str]

    def scales(self, linears: Sequence[nn.Linear]) -> NDArray[np.float32]:
        """Return by what to divide each channel of an input, and multiply the rows of the weights that meet it.

        Args:
            linears: all maps that read this input.

        Returns:
            (largest activation)^0.7 / (largest weight)^0.3 of each channel, geometric mean 1, shape (channels,).

        Source:
            SmoothQuant, Xiao et al. (2023), eq. 4, https://arxiv.org/abs/2211.10438.
        """
        weights = np.concatenate([array_of(linear.weight) for linear in linears])  # (outputs, channels)
        largest = np.maximum(np.abs(weights).max(axis=0), _SMALLEST)
        peaks = np.maximum(self.peaks[self.names[linears[0]]], _SMALLEST)
        logarithms = _MIGRATION * np.log(peaks) - (1 - _MIGRATION) * np.log(largest)
        scales: NDArray[np.float32] = np.exp(logarithms - logarithms.mean()).astype(np.float32)
        return scales

    def groups(self, linear: nn.Linear) -> list[NDArray[np.int64]]:
        """Return the input channels of a map in two groups, the few with the largest values last.

        In one group where that would not make the steps of the others half as wide.
        """
        peaks = self.peaks[self.names[linear]]
        order = np.argsort(peaks, kind="stable")
        few, many = order[-_APART:], order[:-_APART]
        if len(many) < len(few) or peaks[few].max() < 2 * peaks[many].max():
            return [np.sort(order)]
        return [np.sort(many), np.sort(few)]


def find_outliers(model: PreTrainedModel, texts: EncodedTexts) -> Mapping[str, NDArray[np.float32]]:
    """Return the largest magnitude of each input channel of each linear map, by its dotted name.

    Args:
        model: a classifier in evaluation mode.
        texts: training texts; 256 of them, evenly spread, are run.
    """
    peaks: dict[str, NDArray[np.float32]] = {}

    def watch(name: str) -> Any:
        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            largest = array_of(inputs[0].abs().flatten(0, -2).amax(dim=0))
            peaks[name] = np.maximum(peaks.get(name, largest), largest)

        return note

    handles = [
        module.register_forward_pre_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.inference_mode():
            for row in np.unique(np.linspace(0, len(texts) - 1, min(_TEXTS, len(texts))).astype(int)):
                ids = torch.from_numpy(texts.ids[texts.starts[row] : texts.starts[row + 1]])[None]
                model(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        for handle in handles:
            handle.remove()
    return peaks
