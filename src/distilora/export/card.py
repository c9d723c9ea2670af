"""A bundle's model card: what a person must know before using it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from distilora.bundles.manifest import MODEL_FILE, Manifest, Origin, Scores, Threshold
from distilora.data.records import Part
from distilora.evaluation.records import Interval
from distilora.models.loading import WEIGHT_FILE
from distilora.report.markdown import escaped
from distilora.report.wording import count, listed, number, percent, printable, span

MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
_BYTES_PER_MB = 1_000_000
_MADE = {
    "teacher": "fine-tuned at full depth",
    "student": "a student, made of layers {layers} of its fine-tuned teacher and trained by distillation",
    "lora": "fine-tuned with LoRA adapters, which are merged into its weights",
}


@dataclass(frozen=True)
class CardFacts:
    """What the card tells and the manifest does not."""

    part_rows: Mapping[Part, int]
    """Rows of each part of the data."""
    base_model: str | None = None
    """The encoder's id on the Hugging Face hub; absent where it is not from there."""


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
    parts = [
        _front_matter(manifest, origin, facts),
        f"# {_text(manifest.name)}: a text classifier",
        _lead(manifest),
        "## How to use it",
        *_usage(manifest),
        "## Labels",
        _labels(manifest),
        "## Intended use and limits",
        _limits(manifest),
        "## How it was made",
        _making(manifest, origin, facts),
        "## Scores",
        *_scores(manifest),
        "## Fidelity",
        _fidelity(manifest),
        "## Licence",
        _licence(origin),
    ]
    return "\n\n".join(parts) + "\n"


def _text(foreign: str) -> str:
    """Return foreign text in which nothing is Markdown or HTML."""
    return escaped(printable(foreign))


def _front_matter(manifest: Manifest, origin: Origin, facts: CardFacts) -> str:
    data = ModelCardData(
        library_name="transformers" if WEIGHT_FILE in manifest.files else "onnx",
        pipeline_tag="text-classification",
        base_model=facts.base_model,
        tags=["distilora", "onnx", str(manifest.precision)],
        metrics=["f1", "accuracy"],
        model_name=manifest.name,
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type=printable(origin.data_source),
                dataset_name=printable(origin.data_source),
                dataset_split=scores.part,
                metric_type=metric,
                metric_name=name,
                metric_value=value,
            )
            for scores in manifest.scores
            if scores.part == "test"
            for metric, name, value in (
                ("f1", "macro-F1", round(scores.macro_f1, 4)),
                ("accuracy", "accuracy", round(scores.accuracy, 4)),
            )
        ],
    )
    return f"---\n{data.to_yaml().strip()}\n---"


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
        'distilora predict THIS_FOLDER "Some text."\ndistilora serve THIS_FOLDER\n```'
    )
    if WEIGHT_FILE in manifest.files:
        yield "Plain `transformers` loads it too; probabilities are then without temperature, labels without threshold:"
        yield (
            "```python\nfrom transformers import pipeline\n\n"
            'classifier = pipeline("text-classification", model="THIS_FOLDER")\n'
            'classifier(["Some text."], truncation=True)\n```'
        )


def _labels(manifest: Manifest) -> str:
    if not manifest.positive:
        return _table(("index", "class"), [(str(index), _text(name)) for index, name in enumerate(manifest.labels)])
    rows = [
        (str(index), _text(name), "yes" if name in manifest.positive else "no")
        for index, name in enumerate(manifest.labels)
    ]
    return _table(("index", "class", "positive"), rows)


def _limits(manifest: Manifest) -> str:
    cautions = [
        "It is meant to sort short texts like those it was trained on, and to help people decide. It should not be the "
        "only ground for a decision about a person.",
        "It repeats what its training labels say, their mistakes and prejudices included: such classifiers are known "
        "to take dialects and names of groups for signs of hate.",
        "On texts of another kind, time or language its scores and probabilities do not hold.",
    ]
    if manifest.vocabulary_pruned_from:
        cautions.append(
            f"Its vocabulary was pruned from {count(manifest.vocabulary_pruned_from)} tokens to those of its training "
            "texts: other words are cut into smaller pieces, and other languages into single characters."
        )
    return _bullets(cautions)


def _making(manifest: Manifest, origin: Origin, facts: CardFacts) -> str:
    layers = listed([str(layer) for layer in origin.layers or ()])
    rows = ", ".join(f"{count(rows)} {part}" for part, rows in facts.part_rows.items())
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))
    return _bullets(
        [
            f"Method {_text(origin.method)}, seed {origin.seed}: {_MADE[origin.kind].format(layers=layers)}.",
            f"Encoder {_text(origin.encoder)} (family {origin.family}), weights SHA-256 {origin.encoder_sha256[:16]}….",
            f"Data {_text(origin.data_source)}: {rows} rows, SHA-256 {origin.data_sha256[:16]}….",
            f"Exported as {manifest.precision} with {_text(versions)}.",
        ]
    )


def _scores(manifest: Manifest) -> Iterable[str]:
    ours = "this bundle, with its threshold" if manifest.threshold else "this bundle"
    rows = [_score_row("as trained, likeliest class", scores) for scores in manifest.scores]
    rows += [_score_row(ours, scores) for scores in manifest.bundle_scores]
    yield _table(("model", "part", "rows", "macro-F1", "95 % interval", "accuracy", "95 % interval"), rows)
    yield (
        "The model was chosen on the validation rows: scores there flatter, those of the test rows do not. Logits are "
        f"divided by {manifest.temperature:.3f} before softmax, the temperature at which probabilities fit the "
        "validation rows best."
    )
    if manifest.threshold:
        yield _threshold(manifest.threshold, manifest.positive)


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
    goal = "the best F1" if threshold.at_least is None else f"a {threshold.goal} of at least {threshold.at_least:g}"
    return (
        f"A text is positive ({_text(listed(positive))}) where the probability of these classes together reaches "
        f"{threshold.value:.4f}: its label is then the likeliest of them, else the likeliest of the others. This "
        f"threshold was chosen for {goal}; on the validation rows it gives precision "
        f"{number(threshold.precision)}, recall {number(threshold.recall)} and F1 {number(threshold.f1)}."
    )


def _fidelity(manifest: Manifest) -> str:
    parity = manifest.parity
    if parity is None:
        return "It was not compared with the trained model."
    refused = f" An int8 model was refused: {_text(manifest.int8_refused)}." if manifest.int8_refused else ""
    return (
        f"On the {count(parity.rows)} validation rows the exported model gives {percent(parity.same_labels)} of the "
        f"rows the trained model's label, and macro-F1 {number(parity.macro_f1_bundle, 4)} against "
        f"{number(parity.macro_f1_trained, 4)}; logits differ by at most {parity.largest_logit_difference:.2g}."
        f"{refused}"
    )


def _licence(origin: Origin) -> str:
    return (
        f"distilora is under the MIT licence. For these weights the terms of the encoder ({_text(origin.encoder)}) and "
        f"of the data ({_text(origin.data_source)}) hold as well; see to them before you share or sell."
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
