"""Adapters on a student that is trained whole beside them: two functions in one model, with and without them.

Unlike those of :mod:`distilora.models.adapters` they are put into the model itself, so that everything else finds a
plain classifier, and every weight below them is trainable, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from distilora.config import LoraSettings
from distilora.models.adapters import target_pattern
from distilora.models.loading import seeded


def add_joint_adapters(model: PreTrainedModel, settings: LoraSettings, *, seed: int) -> PreTrainedModel:
    """Return ``model`` with LoRA adapters inside, all of it trainable; at first they add nothing.

    Args:
        model: a classifier that no one else holds; it is changed.
        settings: rank, alpha, dropout, targets, DoRA and rsLoRA.
        seed: of the adapters.

    Raises:
        ConfigError: a target is no linear module of the layer stack.
    """
    config = LoraConfig(
        r=settings.first_rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=target_pattern(model, settings.targets),
        use_dora=settings.dora,
        use_rslora=settings.rslora,
    )
    with seeded(seed):
        inject_adapter_in_model(config, model)
    model.requires_grad_(requires_grad=True)
    return model


@contextmanager
def without_adapters(model: Any) -> Iterator[None]:
    """Let the model compute without its adapters meanwhile; what it computed before keeps its gradients."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    trained = [(weight, weight.requires_grad) for layer in layers for weight in layer.parameters()]
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)
        for weight, trains in trained:  # peft makes all adapters train; some may be frozen still
            weight.requires_grad_(trains)


def merge_joint_adapters(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model with its adapters added into the weights beside them and taken out; it is changed."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, place = name.rpartition(".")
            setattr(model.get_submodule(parent), place, module.get_base_layer())
    return model
