"""An experiment whose runs look finished and hold random weights: adapters on whatever they can stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from distilora.config import LoraSettings
from distilora.experiment.opening import adapter_base
from distilora.models.adapters import add_lora
from distilora.models.encoders import Encoder, find_encoder, load_classifier, load_tokenizer, save_trained
from distilora.models.students import build_student
from distilora.runs import MODEL_FOLDER, EncoderIdentity, RunRecord, complete_run, read_run, run_folder, run_sha256
from report_cases import run
from tiny import logits_of, save_tiny_encoder

LABELS = ("civil", "toxic")
ODD = (1, 3)
STARTS = {
    "lora": None,
    "odd-cut-lora": None,
    "odd-lora": "odd",
    "teacher-lora": "teacher",
    "lora-on-lora": "odd-lora",
}
"""The methods with adapters, each with the method whose model they stand on."""
WHOLE = ("lora", "teacher-lora")
"""Those that keep all layers of the encoder."""


def save_hybrid_experiment(home: Path) -> dict[str, Tensor]:
    """Return what each model said before it was saved, by method, as :func:`tiny.logits_of` asks; the seed is 0.

    Args:
        home: which then holds an encoder in ``bert``, and the runs.
    """
    encoder = find_encoder(str(save_tiny_encoder(home / "bert")))
    teacher = _trained(load_classifier(encoder, labels=LABELS, seed=1).model, seed=2)
    said = {"teacher": _finish(home, encoder, "teacher", teacher)}
    said["odd"] = _finish(home, encoder, "odd", _trained(build_student(teacher, ODD), seed=3), layers=ODD)
    for seed, (method, start) in enumerate(STARTS.items(), 10):
        layers = None if method in WHOLE else ODD
        began = None if start is None else hybrid_run(home, start)
        base = adapter_base(began, encoder, labels=LABELS, layers=layers)
        model = add_lora(base, LoraSettings(), fresh=["classifier", "bert.pooler"], encoder=encoder, seed=seed)
        sha256 = None if began is None else run_sha256(began.folder)
        told = {"layers": layers, "start": start, "start_sha256": sha256}
        said[method] = _finish(home, encoder, method, _trained(model, seed=seed), **told)
    return said


def hybrid_run(home: Path, method: str) -> RunRecord:
    """Return one of these runs."""
    return read_run(run_folder(home, method, 0))


def _trained(model: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    """Return the model with its trainable weights changed, as after a training."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.add_(torch.randn(weights.shape, generator=draw), alpha=0.1)
    return model.eval()


def _finish(home: Path, encoder: Encoder, method: str, model: PreTrainedModel, **told: Any) -> Tensor:
    partial = home / method / "partial"
    said = logits_of(model)
    save_trained(model, load_tokenizer(encoder, max_length=12), partial / MODEL_FOLDER)
    model.config.save_pretrained(partial / MODEL_FOLDER)  # as training does: peft leaves it out
    (partial / MODEL_FOLDER / "README.md").unlink(missing_ok=True)  # peft's form, with nothing filled in
    identity = EncoderIdentity(name=encoder.name, sha256=encoder.sha256, max_length=12)
    result = run(method, names=LABELS, encoder=identity, **told).result
    logits = {"test": said.numpy(), "test_labels": np.zeros(3, dtype=np.int64)}
    complete_run(partial, run_folder(home, method, 0), result=result, logits=logits)
    return said
