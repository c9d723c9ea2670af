"""How models are opened: quietly, from safetensors only, with the attention and dropout that were asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from distilora.data.faults import first_line
from distilora.errors import ConfigError, ModelError
from distilora.models.layers import check_family

WEIGHT_FILE = "model.safetensors"
WEIGHT_SHARDS = "model-*.safetensors"


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers' progress bars, loading reports and warnings off the terminal for a while."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from the processor's random numbers as ``seed`` says, and leave them afterwards as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def weight_files(folder: Path, *, where: str) -> tuple[Path, ...]:
    """Return the safetensors files that hold a model's weights, by name.

    Args:
        folder: a saved model.
        where: what the user called it, for the error.

    Raises:
        ModelError: the folder holds no model, or only pickled weights.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{where}: no config.json in it; give the folder of a saved encoder")
    files = tuple(sorted(folder.glob(WEIGHT_FILE)) or sorted(folder.glob(WEIGHT_SHARDS)))
    if not files:
        raise ModelError(
            f"{where}: no model.safetensors in it, and pickled weights are refused because opening them can run "
            "foreign code; load it where you trust it and save it with save_pretrained"
        )
    return files


def files_sha256(files: Iterable[Path]) -> str:
    """Return the SHA-256 over the bytes of files, one after another."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_config(folder: Path, *, where: str) -> PreTrainedConfig:
    """Return the configuration of a saved model of a known family.

    Raises:
        ModelError: ``config.json`` cannot be read, or the family is none that distilora knows.
    """
    try:
        with quietly():
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a configuration is checked by many hands, each with errors of its own
        raise ModelError(f"{where}: config.json is not one of a known model: {first_line(error)}") from None
    check_family(config.model_type, where=where)
    return config


def set_dropout(config: PreTrainedConfig, dropout: float | None) -> None:
    """Give every dropout of a family's configuration the same share, from 0 to 1; absent: leave all as they are."""
    if dropout is not None:
        for key in config.to_dict():
            if "dropout" in key:
                setattr(config, key, dropout)


def attention_code(config: PreTrainedConfig, asked: str) -> str:
    """Return the attention implementation to load a model with: ``eager`` or ``sdpa``.

    Args:
        config: of the model.
        asked: ``eager``, ``sdpa``, or ``auto``: eager on a processor, where it is faster on short texts, and sdpa on a
            GPU if the family has it.

    Raises:
        ConfigError: sdpa was asked of a family that has no such code.
    """
    has_sdpa = bool(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]._supports_sdpa)
    if asked == "sdpa" and not has_sdpa:
        raise ConfigError(f'encoder.attention = "sdpa": {config.model_type} has only eager attention; use auto')
    if asked == "auto":
        return "sdpa" if torch.cuda.is_available() and has_sdpa else "eager"
    return asked


def fresh_modules(model: PreTrainedModel, absent: Iterable[str], *, where: str) -> tuple[str, ...]:
    """Return the modules that training must make, by dotted name: the classifier, and what the weight file lacks.

    Args:
        model: a classifier.
        absent: names of its weights that the weight file lacks or holds in another shape.
        where: what the user called the encoder, for the error.

    Raises:
        ModelError: part of the encoder itself is absent, so that the model would be partly random.
    """
    inside = f"{model.base_model_prefix}."
    pooler = f"{inside}pooler"
    broken = sorted(name for name in absent if name.startswith(inside) and not name.startswith(f"{pooler}."))
    if broken:
        raise ModelError(
            f"{where}: its weight file does not fit: {len(broken)} weights are absent, such as {broken[0]}"
        )
    outside = {pooler if name.startswith(inside) else name.partition(".")[0] for name in absent}
    return tuple(sorted(outside | {"classifier"}))
