"""A trained teacher as its learners meet it: opened anew, its outputs stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from transformers import PreTrainedModel

from distilora import guards
from distilora.data.tokens import EncodedTexts
from distilora.experiment.materials import Materials
from distilora.files import write_whole
from distilora.models.encoders import load_trained
from distilora.models.inference import on_fast_device
from distilora.models.weights import weights_hash
from distilora.runs import MODEL_FOLDER, RunRecord, read_logits, run_sha256
from distilora.training.processes import by_main
from distilora.training.sharing import shared_logits

_OUTPUTS = ".outputs"
_LOGITS = "logits"


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained teacher, frozen."""

    run: RunRecord
    model: PreTrainedModel
    sha256: str
    """Of its weights, before anyone learns from it."""
    train_logits: NDArray[np.float32]
    """Shape (training rows, labels)."""
    validation_logits: NDArray[np.float32]
    """Shape (validation rows, labels)."""

    def logits(self, texts: EncodedTexts, *, bf16: bool) -> NDArray[np.float32]:
        """Return what it says of further texts, shape (texts, labels): computed once, then read.

        Args:
            texts: such as changed copies of training texts, or comments without labels.
            bf16: as its logits of the training rows were computed.
        """
        path = self.run.folder.parent / _OUTPUTS / f"{self.run.folder.name}-{self._key(texts, bf16=bf16)}.safetensors"
        found = by_main(lambda: _stored(path))
        if found is None:
            with on_fast_device(self.model):
                found = shared_logits(self.model, texts, bf16=bf16)
            content = save({_LOGITS: found})
            by_main(lambda: write_whole(path, content, shared=True))  # on Ray two students may ask at once
        return found

    def _key(self, texts: EncodedTexts, *, bf16: bool) -> str:
        parts = (texts.ids.tobytes(), texts.starts.tobytes(), run_sha256(self.run.folder).encode(), bytes([bf16]))
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]


def _stored(path: Path) -> NDArray[np.float32] | None:
    """Return the logits in a file, or nothing where it is not there yet, or not whole."""
    try:
        return load_file(path)[_LOGITS]
    except (OSError, SafetensorError, KeyError):
        return None


def open_teacher(run: RunRecord, materials: Materials) -> Teacher:
    """Return the teacher of a complete run.

    Raises:
        VoidRunError: the run is void.
        ModelError: its model cannot be opened.
    """
    guards.require_sound_teacher(run.result.void)
    model = load_trained(run.folder / MODEL_FOLDER, attention=materials.settings.encoder.attention)
    model.requires_grad_(requires_grad=False)
    logits = read_logits(run.folder)
    return Teacher(run, model, weights_hash(model), logits["train"], logits["validation"])
