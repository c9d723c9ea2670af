"""The trained model of a run, opened anew: whole, or its adapters on what they were trained on.

What adapters stand on is never saved with them: the encoder, some layers of it, or the trained model of another run
with the same seed, which is known by its hash.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel

from distilora.errors import ModelError, RunError
from distilora.experiment.encoders import encoder_identity, find_own_encoder
from distilora.models.encoders import Encoder, load_classifier, load_trained
from distilora.models.students import build_student
from distilora.runs import MODEL_FOLDER, RESULT_FILE, RunRecord, read_run, run_folder, run_sha256

_WHOLE = ("teacher", "student")
_ADAPTER = "lora"


def open_trained(run: RunRecord, *, attention: str = "auto", encoder: Encoder | None = None) -> nn.Module:
    """Return a run's trained classifier in float32 and evaluation mode; LoRA adapters stay beside what they stand on.

    Args:
        run: a complete run that is not void.
        attention: ``eager``, ``sdpa`` or ``auto``.
        encoder: the run's, where it is known already; absent: it is looked for where it is needed.

    Raises:
        ModelError: the run has no model of its own, its folder cannot be used, its encoder changed, or the run that its
            adapters stand on is absent, void or another.
        ConfigError: the family lacks the attention that was asked for.
    """
    folder, kind = run.folder / MODEL_FOLDER, run.result.kind
    model: nn.Module
    if kind in _WHOLE:
        model = load_trained(folder, attention=attention)
        return model
    if kind != _ADAPTER:
        raise ModelError(f"{run.folder}: {kind}s have no model of their own to open; give a run of another method")
    from distilora.models.adapters import load_adapter_on  # peft, which no other run needs

    start = start_of(run)
    if start is None:
        encoder = encoder or find_own_encoder(run)
    base = adapter_base(
        start, encoder, labels=run.result.data.label_names, layers=run.result.layers, attention=attention
    )
    name = f"encoder {encoder_identity(run).name}" if start is None else f"the model of {start.folder}"
    model = load_adapter_on(base, folder, name=name)
    return model


def open_plain(run: RunRecord, *, attention: str = "auto", encoder: Encoder | None = None) -> PreTrainedModel:
    """Return the same as :func:`open_trained` as one plain model, with any adapters merged into its weights."""
    model = open_trained(run, attention=attention, encoder=encoder)
    if run.result.kind != _ADAPTER:
        return model
    from distilora.models.adapters import merged

    return merged(model)


def adapter_base(
    start: RunRecord | None,
    encoder: Encoder | None,
    *,
    labels: Sequence[str],
    layers: Sequence[int] | None = None,
    attention: str = "auto",
) -> PreTrainedModel:
    """Return a fresh copy of what adapters stand on, in evaluation mode, without dropout settings of its own.

    Args:
        start: the complete run whose trained model it is; absent: it is the encoder.
        encoder: needed without ``start``, and where the adapters of ``start`` stand on it.
        labels: names of the classes; a trained model has its own.
        layers: the layers of the encoder, from 1, that are kept; absent: all. Those of ``start`` were chosen before.
        attention: ``eager``, ``sdpa`` or ``auto``.

    Raises:
        ModelError: the model cannot be opened.
        ConfigError: the encoder has no such layers, or its family lacks the attention.
        ValueError: there is neither a run nor an encoder.
    """
    if start is not None:
        return open_plain(start, attention=attention, encoder=encoder)
    if encoder is None:
        raise ValueError("adapters that start from no run stand on an encoder: give it")
    base, _ = load_classifier(encoder, labels=labels, attention=attention)
    return base if layers is None else build_student(base, layers)


def start_of(run: RunRecord) -> RunRecord | None:
    """Return the run whose trained model a run's adapters stand on, or nothing where that is the encoder.

    Raises:
        ModelError: it is absent, unreadable, void, or not the run that it was.
    """
    result = run.result
    if result.start is None:
        return None
    folder = run_folder(run.folder.absolute().parents[1], result.start, result.seed)
    where = f"{run.folder}: its adapters stand on the model of {folder}"
    if not (folder / RESULT_FILE).is_file():
        raise ModelError(f"{where}, which is not there; put that run back, or run distilora compare again")
    try:
        start = read_run(folder)
    except RunError as damaged:
        raise ModelError(f"{where}, which cannot be read: {damaged}") from None
    if start.result.void is not None:
        raise ModelError(f"{where}, which is void; delete {run.folder} and run distilora compare again")
    _require_same(start, result.start_sha256, where=where)
    return start


def _require_same(start: RunRecord, sha256: str | None, *, where: str) -> None:
    now = run_sha256(start.folder)
    if now != sha256:
        was = sha256[:12] if sha256 else "unknown"
        raise ModelError(
            f"{where}, which was made anew since: its SHA-256 is {now[:12]}, not {was}; put the former run back, or "
            "delete the one of the adapters and run distilora compare again"
        )


def base_bytes(run: RunRecord, *, encoder: Encoder | None = None) -> int:
    """Return the size of the weight files that a run's own are nothing without: none but for adapters.

    An encoder counts whole, though only some layers of it be kept: it is shipped as it is and cut where it is opened.

    Args:
        run: a complete run that is not void.
        encoder: the run's, where it is known already.

    Raises:
        ModelError: what the adapters stand on cannot be found.
    """
    if run.result.kind != _ADAPTER:
        return 0
    start = start_of(run)
    if start is None:
        return (encoder or find_own_encoder(run)).size_bytes
    own = sum(file.stat().st_size for file in (start.folder / MODEL_FOLDER).glob("*.safetensors"))
    return own + base_bytes(start, encoder=encoder)
