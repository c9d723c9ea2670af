"""The files with which plain ``transformers`` loads a bundle's folder."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from transformers import PreTrainedModel

from distilora.bundles.manifest import TOKENIZER_FILE
from distilora.models.loading import WEIGHT_FILE, quietly

_CONFIG_FILE = "config.json"
_TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
# Loads tokenizer.json as it is; the families' own classes would build parts of it anew.
_TOKENIZER_CLASS = "PreTrainedTokenizerFast"
_PRIVATE = frozenset({"name_or_path", "_name_or_path", "is_local", "local_files_only", "added_tokens_decoder"})
"""Keys that tell of the machine on which the model was trained, or repeat what ``tokenizer.json`` says."""


def transformers_files(
    model: PreTrainedModel, tokenizer_json: str, *, run_model: Path, max_length: int
) -> dict[str, bytes]:
    """Return ``model.safetensors``, ``config.json`` and the tokenizer's files, by name.

    ``AutoModelForSequenceClassification`` and ``AutoTokenizer`` then load the folder that holds them.

    Args:
        model: a plain classifier (LoRA merged).
        tokenizer_json: the tokenizer that belongs to it.
        run_model: folder with the ``tokenizer_config.json`` that names the special tokens.
        max_length: longest input in tokens, special tokens included.
    """
    files = {TOKENIZER_FILE: tokenizer_json.encode(), **_model_files(model)}
    config = run_model / _TOKENIZER_CONFIG_FILE
    if config.is_file():
        files[_TOKENIZER_CONFIG_FILE] = _tokenizer_config(config, max_length=max_length)
    return files


def _model_files(model: PreTrainedModel) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with quietly():
            # One file, however large: a bundle names it.
            model.save_pretrained(folder, max_shard_size="100GB")
        config = json.loads((folder / _CONFIG_FILE).read_bytes())
        return {WEIGHT_FILE: (folder / WEIGHT_FILE).read_bytes(), _CONFIG_FILE: _json(_public(config))}


def _tokenizer_config(path: Path, *, max_length: int) -> bytes:
    table = _public(json.loads(path.read_bytes()))
    return _json({**table, "tokenizer_class": _TOKENIZER_CLASS, "model_max_length": max_length})


def _public(table: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in table.items() if key not in _PRIVATE}


def _json(table: dict[str, object]) -> bytes:
    return (json.dumps(table, ensure_ascii=False, indent=2) + "\n").encode()
