"""How the model of a card is opened and asked: code that runs, and what must be put into it."""

from __future__ import annotations

from collections.abc import Iterable

from distilora.layout import METHOD_NAME
from distilora.report.cards import passages
from distilora.report.cards.front_matter import encoder_hub_id
from distilora.report.wording import encoder_name
from distilora.runs import MODEL_FOLDER, EncoderIdentity, Result, RunKind

_ENCODER = "THE_ENCODER"
"""Stands in commands for the folder of an encoder that is not on the hub."""
_START = "THE_START"
"""Stands in commands for a method that adapters stand on and whose name cannot be told."""
_CUTTING = " Cutting the encoder needs distilora with its extra `train`."
_PIPELINE = (
    'classifier = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))',
    passages.ASK,
)


def usage(result: Result, encoder: EncoderIdentity, *, start_kind: RunKind | None) -> Iterable[str]:
    """Return how a trained model is opened and asked.

    Args:
        result: of its run.
        encoder: of the same run.
        start_kind: kind of the method whose model its adapters stand on, where there is one and it is known.
    """
    place = f"Put the folder that holds this card, or its name on the hub, in the place of `{passages.FOLDER}`."
    if result.kind != "lora":
        yield passages.pipeline_code()
        yield place
    elif result.start is None:
        yield _cut_code(result.layers, encoder) if result.layers else _encoder_code(encoder)
        yield place + _encoder_place(encoder) + (_CUTTING if result.layers else "")
    elif start_kind == "lora":
        yield _stacked_code()
        yield place + _stacked_place(result)
    else:
        yield _start_code(result)
        yield place + _start_place(result)


def _encoder_code(encoder: EncoderIdentity) -> str:
    return _adapter_code(
        "config = AutoConfig.from_pretrained(folder)  # knows the classes",
        f'base = AutoModelForSequenceClassification.from_pretrained("{_base(encoder)}", config=config)',
        imports="AutoConfig, ",
    )


def _start_code(result: Result) -> str:
    base = f'f"{{folder}}/../../../{_beside(result)}"'
    return _adapter_code(f"base = AutoModelForSequenceClassification.from_pretrained({base})")


def _cut_code(layers: Iterable[int], encoder: EncoderIdentity) -> str:
    return _adapter_code(
        "names = AutoConfig.from_pretrained(folder).id2label",
        f'encoder = AutoModelForSequenceClassification.from_pretrained("{_base(encoder)}", id2label=names)',
        f"base = build_student(encoder, {list(layers)})",
        imports="AutoConfig, ",
        first=("from distilora.models.students import build_student",),
    )


def _adapter_code(*base: str, imports: str = "", first: Iterable[str] = ()) -> str:
    """Return code in which the lines ``base`` make what the adapters stand on."""
    return passages.python_block(
        *first,
        "from peft import PeftModel",
        f"from transformers import {imports}AutoModelForSequenceClassification, AutoTokenizer, pipeline",
        "",
        f'folder = "{passages.FOLDER}"',
        *base,
        "model = PeftModel.from_pretrained(base, folder).merge_and_unload()",
        *_PIPELINE,
    )


def _stacked_code() -> str:
    return passages.python_block(
        "from pathlib import Path",
        "",
        "from distilora.experiment.opening import open_plain",
        "from distilora.runs import read_run",
        "from transformers import AutoTokenizer, pipeline",
        "",
        f'folder = "{passages.FOLDER}"',
        "model = open_plain(read_run(Path(folder).parent))",
        *_PIPELINE,
    )


def _base(encoder: EncoderIdentity) -> str:
    return encoder_hub_id(encoder.name) or _ENCODER


def _encoder_place(encoder: EncoderIdentity) -> str:
    if encoder_hub_id(encoder.name) is not None:
        return ""
    return (
        f" The adapter goes on the encoder that it was trained on, a folder called "
        f"{passages.foreign(encoder_name(encoder.name))} whose weight file has "
        f"{passages.hashed(encoder.sha256)}: put it in the place of `{_ENCODER}`."
    )


def _beside(result: Result) -> str:
    """Return the folder that holds the trained model that adapters stand on, from that of the experiment on."""
    start = result.start or ""
    known = METHOD_NAME.fullmatch(start) is not None  # another name could end the line of code that it stands in
    return f"{start if known else _START}/seed-{result.seed}/{MODEL_FOLDER}"


def _start_place(result: Result) -> str:
    return (
        f" The adapter goes on the model that it was trained on, `{_beside(result)}` of the same experiment, "
        f"whose run has {passages.hashed(result.start_sha256 or '')}: where that lies elsewhere, or on the hub, say so "
        "in the line of `base`."
    )


def _stacked_place(result: Result) -> str:
    return (
        f" The adapter goes on a model that has adapters itself, `{_beside(result)}`, so distilora must open both in "
        "the folder of their experiment; `distilora export` makes one plain model of them."
    )
