"""The card of one trained model, from its result and the comparison that it was part of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from distilora.report.cards import passages
from distilora.report.cards.front_matter import (
    MARK,
    Head,
    encoder_hub_id,
    front_matter,
)
from distilora.report.cards.how_made import how_made, whole_name
from distilora.report.cards.run_results import (
    calibration_sentences,
    comparison_sentences,
    cost_sentences,
    score_tables,
    suite_sentences,
)
from distilora.report.cards.usage import usage
from distilora.report.making import Making, kind_of, making_of_run, read_settings, what_it_is
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import count, either, number, source_name, span
from distilora.runs import EncoderIdentity, Result

_REWRITTEN = (
    f"<!-- Written by distilora from the run's result files, and anew with every report: take the tag {MARK} out of "
    "the lines above to keep what you change. -->"
)
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
    settings, start_kind = read_settings(run), kind_of(comparison, result.start)
    making = making_of_run(result, settings, start_kind=start_kind)
    sections = {
        "How to use it": usage(result, encoder, start_kind=start_kind),
        "Labels": [passages.labels_table(result.data.label_names, result.data.positive)],
        "Intended use and limits": [passages.limits(_own_limits(row, comparison, result.seed))],
        "How it was made": [passages.bullets(how_made(result, encoder, settings, making=making))],
        "Scores": score_tables(row, result),
        "Probabilities": calibration_sentences(row, result.seed),
        "How it compares": [passages.bullets(comparison_sentences(comparison, row))],
        "Cost": cost_sentences(comparison, result.method),
        "Hard cases, groups and noise": suite_sentences(comparison, row),
        "Licence": [passages.licence(whole_name(encoder), source_name(result.data.source))],
    }
    parts = [
        front_matter(_head(result, encoder, making)),
        _REWRITTEN,
        passages.title(result.method),
        _lead(result, encoder, making),
    ]
    for heading, found in sections.items():
        blocks = list(found)
        parts += [f"## {heading}", *blocks] if blocks else []
    return "\n\n".join(parts) + "\n"


def _head(result: Result, encoder: EncoderIdentity, making: Making) -> Head:
    is_lora = result.kind == "lora"
    is_on_the_encoder = is_lora and result.start is None and not result.layers  # what the hub calls its adapter
    return Head(
        name=result.method,
        framework="peft" if is_lora else "transformers",
        tags=(result.kind, *(["knowledge-distillation"] if making.learned else [])),
        data_source=result.data.source,
        base_model=encoder_hub_id(encoder.name),
        relation="adapter" if is_on_the_encoder else "finetune",
        test_scores=(result.test.macro_f1, result.test.accuracy) if result.test else None,
    )


def _lead(result: Result, encoder: EncoderIdentity, making: Making) -> str:
    names, test = result.data.label_names, result.test
    size = f" ({result.size_bytes / _BYTES_PER_MB:.1f} MB of weights)" if result.size_bytes else ""
    classes = passages.foreign(either(names))
    scores = (
        f" On {count(test.rows)} test texts, which it never saw in training, its macro-F1 is {number(test.macro_f1)} "
        f"(95 % interval {span(test.macro_f1_interval)}) and its accuracy {number(test.accuracy)} "
        f"({span(test.accuracy_interval)})."
        if test
        else ""
    )
    return (
        f"It says which of {len(names)} classes a text belongs to: {classes}. It comes from "
        f"{passages.foreign(whole_name(encoder))}: {passages.foreign(what_it_is(making))}. It has "
        f"{count(result.parameters)} parameters{size} and reads the first {encoder.max_length} tokens of a text."
        f"{scores}"
    )


def _own_limits(row: MethodRow, comparison: Comparison, seed: int) -> Iterable[str]:
    if row.seeds and "one class" in row.flags:
        yield "At least one seed of this method gave every test text the same class."
    missed = [passages.foreign(name) for one in row.by_seed if one.seed == seed for name in one.missed_classes]
    if missed:
        yield f"It recognised not one test text of these classes: {', '.join(missed)}."
    if "below majority" in row.flags:
        yield "Its accuracy is below that of always saying the largest class."
    if "not above tfidf" in row.flags:
        yield "Its macro-F1 is not above that of TF-IDF with logistic regression, which is a far simpler model."
    scarce = [f"{passages.foreign(name)} ({count(rows)})" for name, rows in comparison.scarce_classes.items()]
    if scarce:
        yield f"Few test rows: {', '.join(scarce)}. Scores of these classes say little."
