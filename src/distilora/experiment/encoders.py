"""The encoder that a trained run started from."""

from __future__ import annotations

from distilora.errors import ModelError, RunError
from distilora.models.encoders import Encoder, find_encoder
from distilora.runs import EncoderIdentity, RunRecord


def encoder_identity(run: RunRecord) -> EncoderIdentity:
    """Return what a run tells of its encoder.

    Raises:
        RunError: it has none, as the majority class and TF-IDF.
    """
    if run.result.encoder is None:
        raise RunError(f"{run.folder}: {run.result.method} has no encoder and so no model to open")
    return run.result.encoder


def find_own_encoder(run: RunRecord) -> Encoder:
    """Return the encoder itself, which adapters cannot do without.

    Raises:
        RunError: the run has none.
        ModelError: it cannot be found, or it changed since the run, by the hash of its weights.
    """
    identity = encoder_identity(run)
    encoder = find_encoder(identity.name)
    if encoder.sha256 != identity.sha256:
        raise ModelError(
            f"encoder {encoder.name}: not the one that {run.folder} started from: the SHA-256 of its weights is "
            f"{encoder.sha256[:12]}, not {identity.sha256[:12]}; put the former encoder back in its place"
        )
    return encoder
