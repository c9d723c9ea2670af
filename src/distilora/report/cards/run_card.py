"""The card of one trained model, from its result and the comparison that it was part of."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from distilora.config import DistillationSettings, MethodSettings
from distilora.report.cards import passages
from distilora.report.cards.front_matter import (
    MARK,
    Head,
    encoder_hub_id,
    front_matter,
)
from distilora.report.cards.run_results import (
    calibration_sentences,
    comparison_sentences,
    cost_sentences,
    score_tables,
    suite_sentences,
)
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import count, duration, either, encoder_name, listed, number, source_name, span
from distilora.runs import CONFIG_FILE, EncoderIdentity, Result

_REWRITTEN = (
    f"<!-- Written by distilora from the run's result files, and anew with every report: take the tag {MARK} out of "
    "the lines above to keep what you change. -->"
)
_ENCODER = "THE_ENCODER"
"""Stands in commands for the folder of an encoder that is not on the hub."""
_BYTES_PER_MB = 1_000_000


def run_card(comparison: Comparison, result: Result, *, run: Path) -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        comparison: that the run was part of.
        result: of a run that is not void and no baseline.
        run: its folder, whose settings are told where they can be read.

    Raises:
        ValueError: the comparison has no such run, or the run no encoder or scores.

    Source:
        Mitchell et al. (2019), Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993.
    """
    row, encoder, test = comparison.row(result.method), result.encoder, result.test
    if row is None or result.seed not in row.seeds or encoder is None or test is None:
        raise ValueError(f"{result.method}, seed {result.seed}: has no scores in this comparison")
    settings = _settings(run)
    sections = {
        "How to use it": _usage(result, encoder),
        "Labels": [passages.labels_table(result.data.label_names, result.data.positive)],
        "Intended use and limits": [passages.limits(_own_limits(row, comparison))],
        "How it was made": [passages.bullets(_making(result, encoder, settings))],
        "Scores": score_tables(row, result),
        "Probabilities": calibration_sentences(row, result.seed),
        "How it compares": [passages.bullets(comparison_sentences(comparison, row))],
        "Cost": cost_sentences(comparison, result.method),
        "Hard cases, groups and noise": suite_sentences(comparison, row),
        "Licence": [passages.licence(_full_name(encoder), source_name(result.data.source))],
    }
    parts = [
        front_matter(_head(result, encoder, settings)),
        _REWRITTEN,
        passages.title(result.method),
        _lead(result, encoder, settings),
    ]
    for heading, found in sections.items():
        blocks = list(found)
        parts += [f"## {heading}", *blocks] if blocks else []
    return "\n\n".join(parts) + "\n"


def _settings(run: Path) -> MethodSettings | None:
    """Return the settings that a run was made with, or nothing where they cannot be read by this version."""
    try:
        table = tomllib.loads((run / CONFIG_FILE).read_text(encoding="utf-8"))
        return MethodSettings.model_validate(table["method"])
    except (OSError, ValueError, KeyError):  # ValueError: no TOML, no UTF-8, or settings of another version
        return None


def _head(result: Result, encoder: EncoderIdentity, settings: MethodSettings | None) -> Head:
    is_lora = result.kind == "lora"
    learned = result.kind == "student" and _learned(settings)
    return Head(
        name=result.method,
        library="peft" if is_lora else "transformers",
        tags=(result.kind, *(["knowledge-distillation"] if learned else [])),
        data_source=result.data.source,
        base_model=encoder_hub_id(encoder.name),
        relation="adapter" if is_lora else "finetune",
        test_scores=(result.test.macro_f1, result.test.accuracy) if result.test else None,
    )


def _learned(settings: MethodSettings | None) -> bool:
    """Return whether a student looked at its teacher, as all do whose settings do not say otherwise."""
    return settings is None or settings.distillation.uses_teacher


def _lead(result: Result, encoder: EncoderIdentity, settings: MethodSettings | None) -> str:
    names, test = result.data.label_names, result.test
    size = f" ({result.size_bytes / _BYTES_PER_MB:.1f} MB of weights)" if result.size_bytes else ""
    joint = ":" if result.kind == "student" else ","
    classes = passages.foreign(either(names))
    scores = (
        f" On {count(test.rows)} test texts, which it never saw in training, its macro-F1 is {number(test.macro_f1)} "
        f"(95 % interval {span(test.macro_f1_interval)}) and its accuracy {number(test.accuracy)} "
        f"({span(test.accuracy_interval)})."
        if test
        else ""
    )
    made = passages.made(result.kind, result.layers, learned=_learned(settings))
    return (
        f"It says which of {len(names)} classes a text belongs to: {classes}. It comes from "
        f"{passages.foreign(_full_name(encoder))}{joint} {made}. It has "
        f"{count(result.parameters)} parameters{size} and reads the first {encoder.max_length} tokens of a text."
        f"{scores}"
    )


def _full_name(encoder: EncoderIdentity) -> str:
    return encoder_hub_id(encoder.name) or encoder_name(encoder.name)


def _usage(result: Result, encoder: EncoderIdentity) -> Iterable[str]:
    if result.kind != "lora":
        yield passages.pipeline_code()
    else:
        yield _adapter_code(encoder)
    place = f"Put the folder that holds this card, or its name on the hub, in the place of `{passages.FOLDER}`."
    if result.kind == "lora" and encoder_hub_id(encoder.name) is None:
        place += (
            f" The adapter goes on the encoder that it was trained on, a folder called "
            f"{passages.foreign(encoder_name(encoder.name))} whose weight file has "
            f"{passages.hashed(encoder.sha256)}: put it in the place of `{_ENCODER}`."
        )
    yield place


def _adapter_code(encoder: EncoderIdentity) -> str:
    base = encoder_hub_id(encoder.name) or _ENCODER
    return passages.python_block(
        "from peft import PeftModel",
        "from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline",
        "",
        f'folder = "{passages.FOLDER}"',
        "config = AutoConfig.from_pretrained(folder)  # knows the classes",
        f'base = AutoModelForSequenceClassification.from_pretrained("{base}", config=config)',
        "model = PeftModel.from_pretrained(base, folder).merge_and_unload()",
        'classifier = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))',
        passages.ASK,
    )


def _own_limits(row: MethodRow, comparison: Comparison) -> Iterable[str]:
    if row.seeds and "one class" in row.flags:
        yield "At least one seed of this method gave every test text the same class."
    if "below majority" in row.flags:
        yield "Its accuracy is below that of always saying the largest class."
    if "not above tfidf" in row.flags:
        yield "Its macro-F1 is not above that of TF-IDF with logistic regression, which is a far simpler model."
    scarce = [f"{passages.foreign(name)} ({count(rows)})" for name, rows in comparison.scarce_classes.items()]
    if scarce:
        yield f"Few test rows: {', '.join(scarce)}. Scores of these classes say little."


def _making(result: Result, encoder: EncoderIdentity, settings: MethodSettings | None) -> Iterable[str]:
    teacher = "; its teacher is the encoder fine-tuned at full depth on the same rows" if result.layers else ""
    yield f"Method {passages.foreign(result.method)}, seed {result.seed}{teacher}."
    yield f"Encoder {passages.foreign(_full_name(encoder))}, weights {passages.hashed(encoder.sha256)}."
    yield passages.data_used(
        source_name(result.data.source),
        result.data.part_rows,
        sha256=result.data.sha256,
        more=f" (split with seed {result.data.split_seed})",
    )
    if settings is not None:
        yield from _setting_sentences(settings)
    yield _training(result)
    if result.guards:
        yield f"Checks passed, without which it would have no score: {passages.foreign(', '.join(result.guards))}."
    yield f"Made with {passages.software(result.versions)}."


def _training(result: Result) -> str:
    kept = ""
    if result.epochs is not None:
        best = f", of which number {result.best_epoch}, the best on validation, was kept" if result.best_epoch else ""
        kept = f" {result.epochs} {'epoch' if result.epochs == 1 else 'epochs'}{best}"
    memory = f" and at most {count(result.training_memory_mib)} MiB" if result.training_memory_mib is not None else ""
    time = f"; it took {duration(result.training_seconds)}{memory}" if result.training_seconds is not None else ""
    return f"Training:{kept or ' of unknown length'}{time}, on {passages.foreign(result.machine)}."


def _setting_sentences(settings: MethodSettings) -> Iterable[str]:
    training = settings.training
    told = [
        *([f"learning rate {training.learning_rate:g}"] if training.learning_rate is not None else []),
        f"batches of {training.batch_size}",
        f"weight decay {training.weight_decay:g}",
        f"warm-up over {100 * training.warmup:g} % of the steps",
        f"dropout {training.dropout:g}",
        f"classes weighed by their frequency to the power of −{training.class_weight_power:g}"
        if training.class_weight_power
        else "classes weighed alike",
        *([f"label smoothing {training.label_smoothing:g}"] if training.label_smoothing else []),
    ]
    yield f"Settings: {', '.join(told)}."
    if settings.kind == "student":
        yield f"Loss: {_loss(settings.distillation)}."
    if settings.kind == "lora":
        lora = settings.lora
        yield (
            f"LoRA: rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}, targets "
            f"{passages.foreign(listed(lora.targets))}."
        )


def _loss(settings: DistillationSettings) -> str:
    terms = {
        "cross-entropy with the labels": settings.hard,
        f"KL divergence from the teacher, both softened by temperature {settings.temperature:g},": settings.soft,
        "cosine distance between their logits": settings.cosine_logits,
        "cosine distance between their hidden states": settings.cosine_hidden,
    }
    return " + ".join(f"{weight:g} × {name}" for name, weight in terms.items() if weight)
