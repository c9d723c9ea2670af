"""LoRA: small trainable matrices beside the frozen ones of an encoder (Hu et al. 2021, arxiv.org/abs/2106.09685)."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import (
    AdaLoraConfig,
    LoraConfig,
    PeftModel,
    PeftModelForSequenceClassification,
    TaskType,
    get_peft_model_state_dict,
)
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from distilora.config import LoraSettings
from distilora.data.faults import first_line
from distilora.errors import ConfigError, ModelError
from distilora.models.allocation import RankAllocation
from distilora.models.encoders import Encoder, load_classifier
from distilora.models.layers import layer_stack, layer_stack_name
from distilora.models.loading import seeded
from distilora.models.rank import ADAPTER_CONFIG, fit_to_checkpoint

ALL_LINEAR = "all-linear"
_WEIGHTS = "adapter_model.safetensors"


class Adapted(PeftModelForSequenceClassification):  # type: ignore[misc]  # peft has no types
    """A classifier with LoRA adapters, saved without a question to the hub."""

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Save adapters and fresh modules as safetensors; ``options`` as for any peft model."""
        # Left alone, peft looks the encoder's name up on the hub to learn whether the embeddings were resized.
        super().save_pretrained(str(save_directory), **{"save_embedding_layers": False, **options})

    def load_adapter(self, model_id: str | Path, adapter_name: str, **options: Any) -> Any:
        """Load saved weights into an adapter, whose rank becomes the saved one; ``options`` as for any peft model.

        The trainer comes here with the checkpoint that a training goes on from, before it makes its optimizer, and at
        the end with that of the best epoch.
        """
        if adapter_name in self.peft_config:
            fit_to_checkpoint(self, Path(model_id))
        return super().load_adapter(str(model_id), adapter_name, **options)


@dataclass(frozen=True)
class LoraVariant:
    """In what an adapter differs from plain LoRA."""

    dora: bool = False
    """Whether the length of each row of a matrix is trained apart from its direction (Liu et al. 2024)."""
    rslora: bool = False
    """Whether adapters are scaled by alpha / √rank, not alpha / rank (Kalajdzievski 2023)."""
    allocation: RankAllocation | None = None
    """How AdaLoRA shares ranks out; absent: every adapter has the same."""


PLAIN_LORA = LoraVariant()


def add_lora(  # noqa: PLR0913 - what is adapted, how, and under which name
    model: PreTrainedModel,
    settings: LoraSettings,
    *,
    fresh: Sequence[str],
    encoder: Encoder | str,
    seed: int,
    variant: LoraVariant = PLAIN_LORA,
) -> Adapted:
    """Return ``model`` with LoRA adapters in its layer stack; only those and the fresh modules are trainable.

    Args:
        model: a classifier that no one else holds; it is wrapped and changed.
        settings: rank, alpha, dropout and targets.
        fresh: modules that are trained whole and saved with the adapters: those that are not pretrained, and of a
            trained student its head. ``classifier`` is always one of them.
        encoder: whose name is written into the saved adapter; or that name, where the model comes from elsewhere, such
            as ``odd/seed-0``.
        seed: seed of the adapters.
        variant: DoRA, rsLoRA or AdaLoRA.

    Raises:
        ConfigError: a target is no linear module of the layer stack, or two variants exclude each other.
        ModelError: the family is none that distilora knows.

    Source:
        DoRA: https://arxiv.org/abs/2402.09353; rsLoRA: https://arxiv.org/abs/2312.03732; AdaLoRA: see
        :mod:`distilora.models.allocation`.
    """
    shared = {
        "task_type": TaskType.SEQ_CLS,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": target_pattern(model, settings.targets),
        "modules_to_save": list(fresh),
        "base_model_name_or_path": encoder if isinstance(encoder, str) else encoder.name,
    }
    with seeded(seed), _without_peft_warnings():
        return Adapted(model, _peft_config(settings.first_rank, variant, shared))


def _peft_config(rank: int, variant: LoraVariant, shared: dict[str, Any]) -> LoraConfig:
    if variant.allocation is None:
        return LoraConfig(r=rank, use_dora=variant.dora, use_rslora=variant.rslora, **shared)
    if variant.dora or variant.rslora:
        raise ConfigError("lora: AdaLoRA has lengths and scales of its own; take it, or DoRA and rsLoRA")
    return AdaLoraConfig(
        init_r=variant.allocation.first_rank(rank),
        target_r=rank,
        deltaT=variant.allocation.every,
        orth_reg_weight=variant.allocation.orthogonality,
        total_step=1,  # not yet known: set_schedule says it
        **shared,
    )


@contextmanager
def _without_peft_warnings() -> Iterator[None]:
    """Silence what transformers says to peft about a name that peft still uses, and what is checked here anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Found missing adapter keys", category=UserWarning)
        # AdaLoRA's saved ranks are taken for those of plain LoRA, which have other names.
        warnings.filterwarnings("ignore", message="The following rank_pattern keys", category=RuntimeWarning)
        yield


def target_pattern(model: PreTrainedModel, targets: Sequence[str]) -> str:
    """Return a regular expression that fully matches the dotted names of the modules that get an adapter.

    It matches inside the layer stack only, never an embedding, pooler or classifier.

    Args:
        model: a classifier.
        targets: names of linear modules as they end inside a layer, such as ``query`` or ``attention.output.dense``;
            ``all-linear`` means all of them.

    Raises:
        ConfigError: a target is no linear module of the layer stack.
    """
    linear = _linear_names(model)
    matches = {target: [name for name in linear if _is_target(name, target)] for target in targets}
    for target, names in matches.items():
        if not names:
            raise ConfigError(f'lora.targets: "{target}" is not {ALL_LINEAR} or one of {", ".join(linear)}')
    if not matches:
        raise ConfigError(f"lora.targets: give {ALL_LINEAR} or some of {', '.join(linear)}")
    chosen = sorted({name for names in matches.values() for name in names})
    return rf"{re.escape(layer_stack_name(model))}\.\d+\.({'|'.join(re.escape(name) for name in chosen)})"


def _linear_names(model: PreTrainedModel) -> list[str]:
    """Return the names that linear modules have inside a layer, such as ``attention.self.query``."""
    return list(
        dict.fromkeys(
            name
            for layer in layer_stack(model)
            for name, module in layer.named_modules()
            if isinstance(module, nn.Linear)
        )
    )


def _is_target(name: str, target: str) -> bool:
    return target in (ALL_LINEAR, name) or name.endswith(f".{target}")


def load_adapter(
    folder: Path, encoder: Encoder, *, labels: Sequence[str], attention: str = "auto"
) -> PeftModelForSequenceClassification:
    """Return a saved adapter on a freshly opened encoder, frozen and in evaluation mode.

    Args:
        folder: where the adapter was saved.
        encoder: the encoder that it was trained on; compare its hash with the one in the run's result.
        labels: names of the classes, in the order of training.
        attention: ``eager``, ``sdpa`` or ``auto``.

    Raises:
        ModelError: the folder holds no adapter, or one that does not fit this encoder and these labels.
    """
    base, _ = load_classifier(encoder, labels=labels, attention=attention)
    return load_adapter_on(base, folder, name=f"encoder {encoder.name}")


def load_adapter_on(
    base: PreTrainedModel, folder: Path, *, name: str = "the model"
) -> PeftModelForSequenceClassification:
    """Return a saved adapter on the model that it was trained on, frozen and in evaluation mode.

    Args:
        base: the model, with its labels; a student of the same form but other weights is not told apart, so compare
            hashes. It is wrapped and changed.
        folder: where the adapter was saved.
        name: what the user calls the model, for errors.

    Raises:
        ModelError: the folder holds no adapter, or one that does not fit this model.
    """
    for file in (ADAPTER_CONFIG, _WEIGHTS):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: no {file} in it; give the folder of a saved adapter")
    misfit = f"{folder}: this adapter does not fit {name}"
    try:
        with _without_peft_warnings():
            model = PeftModel.from_pretrained(base, str(folder)).eval()
    except (ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{misfit}: {first_line(error)}") from None
    # What the file lacks, peft leaves as random as it was made.
    astray = set(load_file(folder / _WEIGHTS)) ^ set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if astray:
        raise ModelError(f"{misfit}: {len(astray)} weights are absent or have no place, such as {min(astray)}")
    return model


def merged(model: PeftModel) -> PreTrainedModel:
    """Return a plain model that holds the encoder with the adapters added in; ``model`` is left as it is."""
    return copy.deepcopy(model).merge_and_unload()
