"""An experiment whose runs look finished and hold random weights: for tests that open runs and train none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distilora.config import LoraSettings
from distilora.models.adapters import add_lora
from distilora.models.encoders import find_encoder, load_classifier, load_tokenizer, save_trained
from distilora.runs import MODEL_FOLDER, EncoderIdentity, complete_run, run_folder
from report_cases import run
from tiny import save_tiny_encoder

LABELS = ("civil", "toxic")


def save_untrained_experiment(folder: Path) -> Path:
    """Return ``folder``, which now holds an encoder in ``bert`` and one run, seed 0, of teacher and LoRA."""
    encoder = find_encoder(str(save_tiny_encoder(folder / "bert")))
    tokenizer = load_tokenizer(encoder, max_length=12)
    for method in ("teacher", "lora"):
        model, fresh = load_classifier(encoder, labels=LABELS, seed=3)
        if method == "lora":
            model = add_lora(model, LoraSettings(), fresh=fresh, encoder=encoder, seed=4)
        partial = folder / method / "partial"
        save_trained(model, tokenizer, partial / MODEL_FOLDER)
        identity = EncoderIdentity(name=encoder.name, sha256=encoder.sha256, max_length=12)
        result = run(method, names=LABELS, encoder=identity).result
        logits = {"test": np.zeros((1, 2)), "test_labels": np.zeros(1, dtype=np.int64)}
        complete_run(partial, run_folder(folder, method, 0), result=result, logits=logits)
    return folder
