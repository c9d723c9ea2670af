"""How the model of a card was made: what it stands on, its data, settings, training and checks."""

from __future__ import annotations

from collections.abc import Iterable

from distilora.config import DistillationSettings, LoraSettings, MethodSettings, TrainingSettings
from distilora.report.cards import passages
from distilora.report.cards.front_matter import encoder_hub_id
from distilora.report.making import Making
from distilora.report.wording import count, duration, encoder_name, listed, source_name
from distilora.runs import EncoderIdentity, Result

_BALANCES = {
    "moving-average": "each divided by its running mean, so that none drowns the rest",
    "uncertainty": "weighed anew by learned variances (Kendall, Gal and Cipolla 2018)",
    "dwa": "weighed anew each epoch by how fast each falls (Liu, Johns and Davison 2019)",
}
"""What is said of terms whose weights adapt."""


def how_made(
    result: Result, encoder: EncoderIdentity, settings: MethodSettings | None, *, making: Making
) -> Iterable[str]:
    """Return the sentences on how a trained model was made.

    Args:
        result: of its run.
        encoder: of the same run.
        settings: that the run was made with, where they can be read.
        making: of the same run.
    """
    yield f"Method {passages.foreign(result.method)}, seed {result.seed}{_origin(result, making)}."
    yield f"Encoder {passages.foreign(whole_name(encoder))}, weights {passages.hashed(encoder.sha256)}."
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


def whole_name(encoder: EncoderIdentity) -> str:
    """Return what an encoder is called for everybody: its id on the hub, or a folder's own name."""
    return encoder_hub_id(encoder.name) or encoder_name(encoder.name)


def _origin(result: Result, making: Making) -> str:
    told = ""
    if making.start is not None and result.start_sha256:
        told = (
            f"; its adapters were trained on the model of {passages.foreign(making.start)} with the same seed, which "
            f"stayed as it was (its run has {passages.hashed(result.start_sha256)})"
        )
    if result.kind == "student" or making.learned:
        told += "; its teacher is the encoder fine-tuned at full depth on the same rows"
    return told


def _training(result: Result) -> str:
    kept = ""
    if result.epochs is not None:
        best = f", of which number {result.best_epoch}, the best on validation, was kept" if result.best_epoch else ""
        kept = f" {result.epochs} {'epoch' if result.epochs == 1 else 'epochs'}{best}"
    memory = f" and at most {count(result.training_memory_mib)} MiB" if result.training_memory_mib is not None else ""
    time = f"; it took {duration(result.training_seconds)}{memory}" if result.training_seconds is not None else ""
    return f"Training:{kept or ' of unknown length'}{time}, on {passages.foreign(result.machine)}."


def _setting_sentences(settings: MethodSettings) -> Iterable[str]:
    yield f"Settings: {', '.join(_training_words(settings.training))}."
    if settings.kind in ("student", "joint") or settings.learns_from == "teacher":
        yield f"Loss: {_loss(settings.distillation)}."
    if settings.has_adapters:
        yield f"LoRA: {', '.join(_lora_words(settings.lora))}."


def _training_words(training: TrainingSettings) -> Iterable[str]:
    if training.learning_rate is not None:
        yield f"learning rate {training.learning_rate:g}"
    if training.layer_decay < 1:
        yield f"in each lower layer {training.layer_decay:g} times that"
    yield f"batches of {training.batch_size}"
    yield f"weight decay {training.weight_decay:g}"
    yield f"warm-up over {100 * training.warmup:g} % of the steps"
    yield f"dropout {training.dropout:g}"
    yield _class_weights(training)
    rare = {
        f"label smoothing {training.label_smoothing:g}": training.label_smoothing,
        f"focal loss with gamma {training.focal_gamma:g}": training.focal_gamma,
        f"rows drawn by the frequency of their class to the power of −{training.balanced_sampling:g}": (
            training.balanced_sampling
        ),
        f"R-Drop with weight {training.r_drop:g}": training.r_drop,
        "unfrozen layer by layer from the top": training.unfreeze,
    }
    yield from (words for words, is_so in rare.items() if is_so)
    if training.augment:
        copies = "a changed copy" if training.augment_copies == 1 else f"{training.augment_copies} changed copies"
        yield f"{copies} of each training text ({passages.foreign(listed(training.augment))})"


def _class_weights(training: TrainingSettings) -> str:
    if not training.class_weight_power:
        return "classes weighed alike"
    return f"classes weighed by their frequency to the power of −{training.class_weight_power:g}"


def _lora_words(lora: LoraSettings) -> Iterable[str]:
    grown = f", doubled up to {lora.largest_rank} where validation macro-F1 stood still" if lora.rank == "grow" else ""
    yield f"rank {lora.first_rank}{' on average, shared out by AdaLoRA' if lora.adalora else grown}"
    yield f"alpha {lora.alpha:g}"
    yield f"dropout {lora.dropout:g}"
    if lora.dora:
        yield "length and direction of each matrix apart (DoRA)"
    if lora.rslora:
        yield "scaled by alpha / √rank (rsLoRA)"
    yield f"targets {passages.foreign(listed(lora.targets))}"


def _loss(settings: DistillationSettings) -> str:
    terms = {
        "cross-entropy with the labels": settings.hard,
        f"KL divergence from the teacher, both softened by temperature {settings.temperature:g},": settings.soft,
        "cosine distance between their logits": settings.cosine_logits,
        "cosine distance between their hidden states": settings.cosine_hidden,
        "squared difference of their hidden states": settings.hidden,
        "squared difference of their attention scores": settings.attention,
        "divergence of their attention and value relations": settings.relations,
    }
    told = " + ".join(f"{weight:g} × {name}" for name, weight in terms.items() if weight)
    if settings.layer_weight and settings.layer_sharpness:
        alike = "that are alike" if settings.layer_sharpness > 0 else "that lag behind"
        told += f"; pairs of layers {alike} count more"
    return f"{told}; terms {_BALANCES[settings.balance]}" if settings.balance in _BALANCES else told
