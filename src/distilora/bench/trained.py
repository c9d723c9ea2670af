"""A trained run, run with torch and transformers as most people run a fine-tuned model today."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, DataCollatorWithPadding

from distilora.bench.contenders import Identity, Labelled
from distilora.errors import ConfigError
from distilora.experiment.encoders import encoder_identity
from distilora.experiment.opening import base_bytes, open_trained
from distilora.models.loading import quietly
from distilora.runs import MODEL_FOLDER, RunRecord, read_run

_BATCH_SIZE = 32
_SHIPPED = (".safetensors", ".json")


class RunContender:
    """A trained run in float32: batches of 32 in the order of the texts, padded to the longest of the batch.

    Attention is sdpa, transformers' own choice, where the family has it; LoRA adapters stay beside what they stand on.

    Args:
        folder: ``EXPERIMENT/METHOD/seed-N``, of a method that has a model.
        threads: that it may use.

    Raises:
        RunError: the run cannot be read.
        ModelError: its model cannot be opened.
    """

    def __init__(self, folder: Path, *, threads: int) -> None:
        torch.set_num_threads(threads)
        self._run = read_run(folder)
        self._model = _opened(self._run)
        with quietly():
            self._tokenizer = AutoTokenizer.from_pretrained(folder / MODEL_FOLDER, local_files_only=True)
        self._options = {"truncation": True, "max_length": encoder_identity(self._run).max_length}

    @property
    def identity(self) -> Identity:
        """Return who it is."""
        result = self._run.result
        files = (self._run.folder / MODEL_FOLDER).iterdir()
        own = sum(file.stat().st_size for file in files if file.suffix in _SHIPPED)
        return Identity(
            name=f"{result.method}/seed-{result.seed}",
            kind="run",
            precision="fp32",
            labels=result.data.label_names,
            size_bytes=own + base_bytes(self._run),
            bundle_id=None,
        )

    def label_all(self, texts: Sequence[str]) -> Labelled:
        """Return what it says of texts."""
        said = [label for logits in self._logits(texts) for label in logits.argmax(dim=-1).tolist()]
        return Labelled(said, operations=None)

    def run_all(self, texts: Sequence[str]) -> None:
        """Classify texts, batch by batch."""
        for logits in self._logits(texts):
            logits.argmax(dim=-1)

    def run_one(self, text: str) -> None:
        """Classify one text."""
        with torch.no_grad():
            batch = self._tokenizer(text, return_tensors="pt", **self._options)
            self._model(**batch).logits.argmax(dim=-1)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each whole text, the special ones included."""
        return [len(ids) for ids in self._tokenizer(list(texts), verbose=False)["input_ids"]]

    def _logits(self, texts: Sequence[str]) -> Iterator[Tensor]:
        """Yield the logits of each batch, shape (batch, labels)."""
        encoded = self._tokenizer(list(texts), **self._options)
        rows = [{key: encoded[key][row] for key in encoded} for row in range(len(texts))]
        collate = DataCollatorWithPadding(tokenizer=self._tokenizer)
        loader: DataLoader[Any] = DataLoader(rows, batch_size=_BATCH_SIZE, collate_fn=collate)  # type: ignore[arg-type]
        for batch in loader:
            with torch.no_grad():
                yield self._model(**batch).logits


def _opened(run: RunRecord) -> nn.Module:
    try:
        return open_trained(run, attention="sdpa")
    except ConfigError:  # the family has no such code
        return open_trained(run, attention="eager")
