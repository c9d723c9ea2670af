"""The trained model of a run, whole and plain, as it is exported."""

from __future__ import annotations

import logging

import numpy as np
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from distilora.bundles.manifest import TOKENIZER_FILE
from distilora.data.faults import first_line
from distilora.errors import ModelError, ParityError
from distilora.experiment.materials import Materials
from distilora.experiment.methods import first_rows_logits
from distilora.experiment.opening import open_trained
from distilora.export.parity import LARGEST_DIFFERENCE
from distilora.models.adapters import merged
from distilora.runs import MODEL_FOLDER, RunRecord

# The code that every family has; what is exported does not depend on it beyond rounding.
_ATTENTION = "eager"
logger = logging.getLogger(__name__)


def trained_model(run: RunRecord, materials: Materials) -> PreTrainedModel:
    """Return a run's model on the processor, float32, in evaluation mode; of a LoRA run with its adapters merged.

    Args:
        run: a complete run that is not void.
        materials: of its experiment.

    Raises:
        ModelError: its model folder cannot be used, or what its adapters stand on.
        ParityError: merging the adapters changed what the model says.
    """
    adapted = open_trained(run, attention=_ATTENTION, encoder=materials.encoder)
    if run.result.kind != "lora":
        return adapted
    plain = merged(adapted).eval()
    difference = require_same_when_merged(adapted, plain, materials)
    logger.info("adapters merged: logits differ by at most %.2g", difference)
    return plain


def require_same_when_merged(adapted: nn.Module, plain: nn.Module, materials: Materials) -> float:
    """Return by how much logits of some validation rows differ at most, once that is no more than 1e-4.

    Args:
        adapted: the model with its adapters.
        plain: the model that they were merged into.
        materials: of the experiment.

    Raises:
        ParityError: they differ by more.
    """
    before, after = first_rows_logits(adapted, materials), first_rows_logits(plain, materials)
    difference = float(np.abs(before - after).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ParityError(
            f"merging the adapters changed the logits by up to {difference:.2g}, {LARGEST_DIFFERENCE:g} is allowed: "
            "train the run again with a smaller lora.alpha, or report this fault"
        )
    return difference


def trained_tokenizer(run: RunRecord) -> str:
    """Return the ``tokenizer.json`` of a run, which neither cuts nor pads.

    Raises:
        ModelError: it is missing or damaged.
    """
    path = run.folder / MODEL_FOLDER / TOKENIZER_FILE
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"{path}: not a readable tokenizer: {first_line(error)}; run the method again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return str(tokenizer.to_str())
