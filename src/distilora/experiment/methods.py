"""What every method's model is asked, whatever it is: before anything is trained, and around its training."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForSequenceClassification

from distilora.config import SEARCH
from distilora.data.augmentation import check_kinds
from distilora.experiment.materials import Materials
from distilora.models.adapters import target_pattern
from distilora.models.inference import compute_logits
from distilora.models.layers import layer_numbers
from distilora.models.loading import read_config

_TRIED_ROWS = 64


def check_methods(materials: Materials) -> None:
    """Refuse layers and adapters that the encoder does not have, and changes to texts that there are not.

    This comes before anything is trained, for what a method needs may take hours.

    Raises:
        ConfigError: a method names a layer or a module that the encoder lacks, or an unknown change.
    """
    config = read_config(materials.encoder.path, where=f"encoder {materials.encoder.name}")
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    for name in materials.settings.method_names:
        method = materials.settings.method(name)
        if method.layers not in (None, SEARCH):
            layer_numbers(method.layers, config.num_hidden_layers)
        if method.has_adapters:
            target_pattern(model, method.lora.targets)
        if method.training.augment:
            check_kinds(method.training.augment)


def trainable_hash(model: nn.Module) -> str:
    """Return the SHA-256 of the trainable weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        if weight.requires_grad:
            digest.update(name.encode() + b"\0")
            digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def first_rows_logits(model: nn.Module, materials: Materials) -> NDArray[np.float32]:
    """Return float32 logits of the first validation rows, shape (at most 64, labels)."""
    texts = materials.texts["validation"]
    count = min(_TRIED_ROWS, len(texts))
    first = type(texts)(ids=texts.ids[: texts.starts[count]], starts=texts.starts[: count + 1], pad_id=texts.pad_id)
    return compute_logits(model, first)
