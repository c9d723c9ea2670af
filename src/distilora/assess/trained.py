"""A trained run, answering with torch as it did in training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from distilora.assess.models import Model, Probabilities
from distilora.bundles.predictions import calibrated
from distilora.data.faults import first_line
from distilora.data.tokens import encode_texts
from distilora.errors import ModelError
from distilora.experiment.encoders import encoder_identity
from distilora.experiment.opening import open_trained
from distilora.models.inference import compute_logits
from distilora.models.loading import quietly
from distilora.runs import MODEL_FOLDER, read_run, run_sha256
from distilora.training.threads import torch_threads


def open_run(path: str, folder: Path, *, threads: int) -> Model:
    """Return a trained run, ready to answer in float32; there is no temperature and no threshold before export.

    Args:
        path: as the user gave it.
        folder: ``EXPERIMENT/METHOD/seed-N``, of a method that has a model.
        threads: that torch may use while it answers.

    Raises:
        RunError: the run cannot be read or has no model.
        ModelError: its model cannot be opened, or its encoder, or the run that its adapters stand on, is not the one
            that it was trained on.
    """
    run = read_run(folder)
    longest = encoder_identity(run).max_length
    model, tokenizer, data = open_trained(run), _tokenizer(folder / MODEL_FOLDER), run.result.data

    def probabilities(texts: Sequence[str]) -> Probabilities:
        encoded = encode_texts(texts, tokenizer, max_length=longest)
        with torch_threads(threads):
            return calibrated(compute_logits(model, encoded), temperature=1.0)

    return Model(
        path=path,
        kind="run",
        sha256=run_sha256(folder),
        labels=data.label_names,
        positive=data.positive,
        threshold=None,
        data_sha256=(data.sha256,),
        probabilities=probabilities,
    )


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        with quietly():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{folder}: no usable tokenizer: {first_line(error)}; run the method again") from None
    return tokenizer
