"""A bundle's model card: what a person must know before using it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from distilora.bundles.manifest import MODEL_FILE, Manifest, Origin, Scores, Threshold
from distilora.data.records import Part
from distilora.evaluation.records import Interval
from distilora.models.loading import WEIGHT_FILE
from distilora.report.cards.front_matter import Head, front_matter
from distilora.report.cards.passages import (
    FOLDER,
    VALIDATION_FLATTERS,
    bullets,
    data_used,
    foreign,
    hashed,
    labels_table,
    licence,
    limits,
    pipeline_code,
    software,
    table,
    title,
)
from distilora.report.making import Making, what_it_is
from distilora.report.wording import count, goal_words, listed, number, percent, span

_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class CardFacts:
    """What the card tells and the manifest does not."""

    part_rows: Mapping[Part, int]
    """Rows of each part of the data."""
    base_model: str | None = None
    """The encoder's id on the Hugging Face hub; absent where it is not from there."""
    making: Making | None = None
    """Of the run; absent: what the manifest says of its origin."""


class OwnWords(NamedTuple):
    """What the card of one model and that of an ensemble each tell in their own way."""

    lead: str
    limits: Iterable[str]
    """What it is not fit for beside what holds for all."""
    making: Iterable[str]
    """How it was made, in sentences."""


def model_card(manifest: Manifest, facts: CardFacts) -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        manifest: of a bundle of one model, with everything measured and all files but the card.
        facts: what else is told.

    Source:
        Mitchell et al. (2019), Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993.
    """
    origin = manifest.origin
    if origin is None:
        raise ValueError("an ensemble has no card of this form")
    told = OwnWords(_lead(manifest), own_limits(manifest), _making(manifest, origin, facts))
    return whole_card(manifest, told, origin=origin, base_model=facts.base_model)


def whole_card(manifest: Manifest, told: OwnWords, *, origin: Origin, base_model: str | None) -> str:
    """Return a card as Markdown, in the form that all bundles share.

    Args:
        manifest: of the bundle, with everything measured.
        told: what is told of this bundle in words of its own.
        origin: of its model, or of one of its members.
        base_model: the encoder's id on the Hugging Face hub, where it has one.
    """
    parts = [
        _front_matter(manifest, origin, base_model),
        title(manifest.name),
        told.lead,
        "## How to use it",
        *_usage(manifest),
        "## Labels",
        labels_table(manifest.labels, manifest.positive),
        "## Intended use and limits",
        limits(told.limits),
        "## How it was made",
        bullets(told.making),
        "## Scores",
        *_scores(manifest),
        "## Fidelity",
        _fidelity(manifest),
        "## Licence",
        licence(origin.encoder, origin.data_source),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(manifest: Manifest, origin: Origin, base_model: str | None) -> str:
    test = next((scores for scores in manifest.scores if scores.part == "test"), None)
    return front_matter(
        Head(
            name=manifest.name,
            framework="transformers" if WEIGHT_FILE in manifest.files else "onnx",
            tags=("onnx", manifest.precision or manifest.kind),
            data_source=origin.data_source,
            base_model=base_model,
            test_scores=(test.macro_f1, test.accuracy) if test else None,
        )
    )


def _lead(manifest: Manifest) -> str:
    size = f"{manifest.files[MODEL_FILE].size_bytes / _BYTES_PER_MB:.1f} MB"
    return (
        f"It says which of {len(manifest.labels)} classes a text belongs to: an {manifest.precision} ONNX model of "
        f"{size} with {count(manifest.parameters)} parameters and {count(manifest.vocabulary)} tokens, which runs on "
        f"an ordinary processor. It reads the first {manifest.max_length} tokens of a text."
    )


def _usage(manifest: Manifest) -> Iterable[str]:
    yield (
        '```bash\npip install "distilora[serve]"\n'
        f'distilora predict {FOLDER} "Some text."\ndistilora serve {FOLDER}\n```'
    )
    if WEIGHT_FILE in manifest.files:
        yield "Plain `transformers` loads it too; probabilities are then without temperature, labels without threshold:"
        yield pipeline_code()


def own_limits(manifest: Manifest) -> Iterable[str]:
    """Yield what a bundle is not fit for beside what holds for all."""
    if manifest.vocabulary_pruned_from:
        yield (
            f"Its vocabulary was pruned from {count(manifest.vocabulary_pruned_from)} tokens to those of its labelled "
            "training texts: other words are cut into smaller pieces, and other languages into single characters."
        )


def _making(manifest: Manifest, origin: Origin, facts: CardFacts) -> Iterable[str]:
    making = facts.making or Making(origin.kind, origin.layers or (), learned=origin.kind == "student")
    merged = "; the adapters are merged into its weights" if origin.kind == "lora" else ""
    encoder = f"Encoder {foreign(origin.encoder)} (family {foreign(origin.family)})"
    yield f"Method {foreign(origin.method)}, seed {origin.seed}: {foreign(what_it_is(making))}{merged}."
    yield f"{encoder}, weights {hashed(origin.encoder_sha256)}."
    yield data_used(origin.data_source, facts.part_rows, sha256=origin.data_sha256)
    yield f"Exported as {manifest.precision} with {software(manifest.versions)}."


def _scores(manifest: Manifest) -> Iterable[str]:
    """Yield what trained model and bundle score, and how temperature and threshold were chosen."""
    ours = "this bundle, with its threshold" if manifest.threshold else "this bundle"
    rows = [_score_row("as trained, likeliest class", found) for found in manifest.scores]
    rows += [_score_row(ours, found) for found in manifest.bundle_scores]
    yield table(("model", "part", "rows", "macro-F1", "95 % interval", "accuracy", "95 % interval"), rows)
    yield f"{VALIDATION_FLATTERS} {_temperature(manifest)}"
    if manifest.threshold:
        yield _threshold(manifest.threshold, manifest.positive)


def _temperature(manifest: Manifest) -> str:
    if manifest.temperature is None:
        return "Each member has its own temperature, at which its probabilities fit the validation rows best."
    return (
        f"Logits are divided by {manifest.temperature:.3f} before softmax, the temperature at which probabilities fit "
        "the validation rows best."
    )


def _score_row(model: str, scores: Scores) -> tuple[str, ...]:
    return (
        model,
        scores.part,
        count(scores.rows),
        number(scores.macro_f1),
        _span(scores.macro_f1_interval),
        number(scores.accuracy),
        _span(scores.accuracy_interval),
    )


def _span(interval: tuple[float, float] | None) -> str:
    return span(interval and Interval(low=interval[0], high=interval[1]))


def _threshold(threshold: Threshold, positive: Sequence[str]) -> str:
    goal = goal_words(threshold.goal, threshold.at_least)
    return (
        f"A text is positive ({foreign(listed(positive))}) where the probability of these classes together reaches "
        f"{threshold.value:.4f}: its label is then the likeliest of them, else the likeliest of the others. This "
        f"threshold was chosen for {goal}; on the validation rows it gives precision "
        f"{number(threshold.precision)}, recall {number(threshold.recall)} and F1 {number(threshold.f1)}."
    )


def _fidelity(manifest: Manifest) -> str:
    """Return how near the bundle is to what was trained."""
    parity = manifest.parity
    if parity is None:
        return "It was not compared with the trained model."
    what = "logarithms of probabilities" if manifest.kind == "ensemble" else "logits"
    refused = f" An int8 model was refused: {foreign(manifest.int8_refused)}." if manifest.int8_refused else ""
    return (
        f"On the {count(parity.rows)} validation rows the exported model gives {percent(parity.same_labels)} of the "
        f"rows the trained model's label, and macro-F1 {number(parity.macro_f1_bundle, 4)} against "
        f"{number(parity.macro_f1_trained, 4)}; {what} differ by at most {parity.largest_logit_difference:.2g}."
        f"{refused}"
    )
